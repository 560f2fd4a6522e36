"""Which trials a tuning makes: as many for every method, each a run of its own with the tuning seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.config.host_sync import refuse_host_sync_in_graphs
from bench.config.search import SearchSpace, read_space
from bench.config.suite import Planned, Suite
from bench.errors import BadInput
from bench.spec import Scalar, Spec
from bench.tune.space import Sampler, proposals
from methods.ops.keys import Key

TUNING_SEED = 90001
"""Seed of all trials unless another is asked for; large, so that a suite does not have it by chance."""


@dataclass(frozen=True)
class Settings:
    """How a suite is tuned. seed: trains all trials and decides what is tried."""

    trials: int
    sampler: Sampler = "random"
    seed: int = TUNING_SEED


@dataclass(frozen=True)
class Trial:
    """One setting of a method. number counts from 1, the default. planned: its run, without data digest."""

    number: int
    values: dict[str, Scalar]
    planned: Planned


@dataclass(frozen=True)
class ArmPlan:
    """One method in one cell (data, backbone, protocol). default: its planned run at the suite's first seed.

    trials: empty where nothing is searched.
    """

    default: Planned
    space: SearchSpace
    trials: tuple[Trial, ...]

    @property
    def method(self) -> str:
        """Name of the arm."""
        return self.default.spec.labels.method

    @property
    def cell(self) -> tuple[str, str, str]:
        """Names of data, backbone and protocol."""
        return cell_names(self.default.spec)


def cell_names(spec: Spec) -> tuple[str, str, str]:
    """Names of the data, backbone and protocol that a run came from."""
    return spec.labels.data, spec.labels.backbone, spec.labels.protocol


def plan_trials(suite: Suite, settings: Settings) -> list[ArmPlan]:
    """The trials of every method in every cell of a suite, in its order.

    BadInput where data hold out no validation images, where the suite itself uses the tuning seed, or where a method
    does not say what to search.
    """
    seeds = {item.spec.seed for item in suite.planned}
    if settings.seed in seeds:
        raise BadInput(f"--seed {settings.seed}: is a seed of suite {suite.name}; trials need one that no result has")
    plans: list[ArmPlan] = []
    for item in suite.planned:
        if item.spec.seed != suite.planned[0].spec.seed:
            continue
        if not item.spec.data.validation:
            raise BadInput(
                f"{suite.name}: data '{item.spec.labels.data}' hold out no validation images, and tuning never looks "
                "at test images; add --set data.validation=0.1"
            )
        plans.append(_plan(suite, item, settings))
    if not any(plan.trials for plan in plans):
        fixed = {f"method.{name}": None for plan in plans for name in plan.space.fixed}
        hint = f"; leave out what is set: {', '.join(fixed)}" if fixed else ""
        raise BadInput(f"{suite.name}: none of its methods has anything to tune{hint}")
    require_equal_trials(plans)
    return plans


def require_equal_trials(plans: Sequence[ArmPlan]) -> None:
    """ValueError where a method that is tuned got more trials, or another seed, than the others."""
    counts = {(len(plan.trials), trial.planned.spec.seed) for plan in plans for trial in plan.trials}
    if len(counts) > 1:
        raise ValueError(f"methods got different numbers of trials, or seeds: {sorted(counts)}")


def _plan(suite: Suite, item: Planned, settings: Settings) -> ArmPlan:
    spec, labels = item.spec, item.spec.labels
    space = read_space(labels.method, spec.method.implementation, _set_elsewhere(suite, item), suite.folders)
    if not space.searched:
        return ArmPlan(item, space, ())
    seed = Key(settings.seed, "tune", labels.method).integer() % 2**32
    tried = proposals(space.searched, spec.method.parameters, settings.trials, settings.sampler, seed)
    trials = tuple(
        Trial(number, values, _run(item, number, values, settings)) for number, values in enumerate(tried, 1)
    )
    for trial in trials:
        origins = {**item.origins, "method": {**item.origins["method"], **dict.fromkeys(trial.values, "search")}}
        refuse_host_sync_in_graphs(trial.planned.spec, origins, suite.folders)
    return ArmPlan(item, space, trials)


def _set_elsewhere(suite: Suite, item: Planned) -> set[str]:
    """Parameters whose value comes from the suite or the command line rather than from the method's own files."""
    path = suite.folders.find("method", item.spec.labels.method)
    own = (str(path),) if path is not None else ()
    origins = item.origins.get("method", {})
    return {key for key, origin in origins.items() if origin != "default" and not origin.startswith(own or ("\0",))}


def _run(item: Planned, number: int, values: dict[str, Scalar], settings: Settings) -> Planned:
    spec = item.spec
    method = spec.method.model_copy(update={"parameters": {**spec.method.parameters, **values}})
    labels = spec.labels.model_copy(update={"method": f"{spec.labels.method} trial {number}"})
    row = spec.model_copy(update={"method": method, "labels": labels, "seed": settings.seed})
    return replace(item, row=row, seed=settings.seed)
