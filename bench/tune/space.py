"""The settings that a method's trials try: its default first, then what Optuna's sampler proposes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Literal, cast

from bench.config.search import Searched
from bench.errors import BadInput
from bench.spec import Scalar

SAMPLERS = ("random", "qmc")
Sampler = Literal["random", "qmc"]
DIGITS = 4
"""Significant digits of a proposed number, so that a table can show the very value that was tried."""


def proposals(
    space: tuple[Searched, ...], defaults: Mapping[str, Scalar], trials: int, sampler: Sampler, seed: int
) -> list[dict[str, Scalar]]:
    """The values of the searched parameters in each of `trials` trials; the first is the default.

    sampler: "random" draws independently (Bergstra & Bengio 2012); "qmc" takes a scrambled Sobol sequence, which
    leaves smaller gaps, and draws choices at random. Neither looks at results, so all trials are known beforehand: the
    same arguments give the same settings, and fewer trials are the beginning of more. BadInput without Optuna.
    """
    names = [item.name for item in space]
    first = {name: defaults[name] for name in names}
    if trials == 1:
        return [first]
    optuna = _optuna()
    distributions = {item.name: _distribution(item, optuna) for item in space}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        chosen = (
            optuna.samplers.RandomSampler(seed=seed)
            if sampler == "random"
            else optuna.samplers.QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)
        )
        study = optuna.create_study(sampler=chosen)
        # the Sobol sampler takes its dimensions from a finished trial and is random until there is one
        known = {item.name: item.choices[0] if item.choices else item.low for item in space}
        study.add_trial(optuna.trial.create_trial(params=known, distributions=distributions, value=0.0))
        asked = [study.ask(distributions).params for _ in range(trials - 1)]
    return [first, *({item.name: _rounded(params[item.name], item) for item in space} for params in asked)]


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise BadInput("`mixbench tune` needs Optuna: install mixbench with the extra 'tune'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _distribution(item: Searched, optuna: Any) -> Any:
    if item.choices:
        return optuna.distributions.CategoricalDistribution(item.choices)
    if isinstance(item.low, int):
        return optuna.distributions.IntDistribution(item.low, int(item.high), log=item.log)
    return optuna.distributions.FloatDistribution(item.low, item.high, log=item.log)


def _rounded(value: Any, item: Searched) -> Scalar:
    if isinstance(value, float) and not item.choices:
        return min(max(float(f"{value:.{DIGITS}g}"), item.low), item.high)
    return cast("Scalar", value)
