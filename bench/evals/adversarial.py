"""Accuracy under Auto-PGD over a curve of radii, two legacy attacks, and whether the gradients can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from annotated_types import Ge, Gt, Le

from bench.errors import BadInput
from bench.evals.api import Context, Done, Evaluator, Metric, distinct, metric_key
from bench.evals.attack_ops.ball import Ball
from bench.evals.attack_ops.masking import CHECKS, masking_checks
from bench.evals.attack_ops.network import AttackedNetwork, Budget
from methods.ops.keys import Key

EXTRA_ATTACKS = ("fgsm", "pgd", "apgd_ce_fewer_steps", "apgd_half_range", "transfer", "square")
"""Attacks made for the checks alone; their accuracies are masking values."""
Norm = Literal["linf", "l2"]
Named = tuple[str, dict[str, Any]]


class Measurement(NamedTuple):
    """Metrics that come out of one pass; `measure` is given what is known of those before."""

    named: tuple[Named, ...]
    measure: Callable[[Done], Sequence[float | None]]


class Adversarial(Evaluator):
    """Share of images that are right without an attack and stay right under it, "attack_top1".

    "apgd_ce" is Auto-PGD on the cross entropy, "apgd" the worst of that and Auto-PGD on the targeted logits ratio
    (Croce and Hein 2020), which no scale of the logits can blind; linf_255 are its L-infinity radii in 1/255, l2 its
    Euclidean radii for pixels in [0, 1]. "fgsm" and "pgd20" (L-infinity; random start, its last point counts) are
    legacy columns. targets: how many other classes are aimed at, at most: those of largest logit without an attack,
    all of them where the network has no more (min(targets, classes - 1)); 0 takes the untargeted ratio. per_class: only
    the first so many images of each class, 0 all. Pixel space, normalisation inside, float32, evaluation mode.

    checks: gradient masking is looked for at checks_eps_255 and checks_eps_l2, which must be on the curves; PGD there
    starts at the image and steps by eps / 4. square_queries: 0 leaves the Square attack out.
    """

    name: ClassVar[str] = "adversarial"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "Auto-PGD over radii, FGSM and PGD-20 (mixing is a regulariser, not a defence)"
    needs: ClassVar[tuple[str, ...]] = ("erm",)

    def __init__(
        self,
        *,
        linf_255: tuple[Annotated[float, Gt(0), Le(255)], ...] = (0.5, 1.0, 2.0, 4.0, 8.0),
        l2: tuple[Annotated[float, Gt(0)], ...] = (0.05, 0.1, 0.25, 0.5, 1.0),
        fgsm_255: tuple[Annotated[float, Gt(0), Le(255)], ...] = (0.5, 1.0, 2.0, 4.0, 8.0),
        pgd20_255: tuple[Annotated[float, Gt(0), Le(255)], ...] = (4.0,),
        pgd20_step_255: Annotated[float, Gt(0), Le(255)] = 2.0,
        steps: Annotated[int, Ge(1)] = 100,
        targets: Annotated[int, Ge(0)] = 9,
        restarts: Annotated[int, Ge(1)] = 1,
        per_class: Annotated[int, Ge(0)] = 0,
        checks: bool = True,
        checks_eps_255: Annotated[float, Gt(0), Le(255)] = 2.0,
        checks_eps_l2: Annotated[float, Gt(0)] = 0.25,
        square_queries: Annotated[int, Ge(0)] = 1000,
        seed: Annotated[int, Ge(0)] = 0,
        batch_size: Annotated[int, Ge(1)] = 256,
    ) -> None:
        curves = {"linf_255": linf_255, "l2": l2, "fgsm_255": fgsm_255, "pgd20_255": pgd20_255}
        for setting, radii in curves.items():
            if radii:
                distinct(f"adversarial: {setting}", radii)
        for setting, eps, curve in (
            ("checks_eps_255", checks_eps_255, "linf_255"),
            ("checks_eps_l2", checks_eps_l2, "l2"),
        ):
            if checks and curves[curve] and eps not in curves[curve]:
                nearest = min(curves[curve], key=lambda radius: abs(radius - eps))
                raise BadInput(f"adversarial: {setting} {eps:g} is not one of {curve}; the nearest is {nearest:g}")
        self.curves: dict[Norm, tuple[float, ...]] = {
            "linf": tuple(sorted(map(float, linf_255))),
            "l2": tuple(sorted(map(float, l2))),
        }
        self.fgsm_255 = tuple(map(float, fgsm_255))
        self.pgd20_255 = tuple(map(float, pgd20_255))
        self.pgd20_step = pgd20_step_255 / 255
        self.budget = Budget(steps, targets, restarts)
        self.per_class = per_class
        self.checks = checks
        self.checks_eps: dict[Norm, float] = {"linf": float(checks_eps_255), "l2": float(checks_eps_l2)}
        self.square_queries = square_queries
        self.key = Key(seed, "adversarial")
        self.batch_size = batch_size

    def plan(self, context: Context) -> list[str]:
        """Keys of all metrics, in order; BadInput where there are too few classes for the logits ratio."""
        return [metric_key(*named) for measurement in self._measurements(context) for named in measurement.named]

    def evaluate(self, context: Context, done: Done) -> Iterator[Metric]:
        """Every metric that is not done, in the plan's order."""
        known = dict(done)
        for measurement in self._measurements(context):
            keys = [metric_key(*named) for named in measurement.named]
            if all(key in known for key in keys):
                continue
            for (name, detail), key, value in zip(measurement.named, keys, measurement.measure(known), strict=True):
                known[key] = value
                if key not in done:
                    yield Metric(name, value, detail)

    def _measurements(self, context: Context) -> Iterator[Measurement]:
        """All there is to measure, cheap things first."""
        self._check_classes(context.num_classes)
        network = AttackedNetwork(self.name, context, self.per_class, self.batch_size, self.key)
        yield _one(("attack_clean_top1", {}), network.clean)
        for eps in self.fgsm_255:
            yield _one(_top1("fgsm", "linf", eps), partial(network.fgsm, _ball("linf", eps)))
        for eps in self.pgd20_255:
            yield _one(_top1("pgd20", "linf", eps), partial(network.pgd20, _ball("linf", eps), self.pgd20_step))
        for norm, curve in self.curves.items():
            for eps in curve:
                named = (_top1("apgd_ce", norm, eps), _top1("apgd", norm, eps))
                yield Measurement(named, _unknowing(partial(network.apgd, _ball(norm, eps), self.budget)))
        for norm, curve in self.curves.items():
            if self.checks and curve:
                yield from self._masking(network, norm)

    def _masking(self, network: AttackedNetwork, norm: Norm) -> Iterator[Measurement]:
        """Random noise along the curve, the accuracies that the checks compare, and the checks."""
        for eps in self.curves[norm]:
            yield _one(_noise(norm, eps), partial(network.random_noise, _ball(norm, eps)))
        for quantity, measure in self._quantities(network, norm).items():
            yield _one(_quantity(quantity, norm), measure)

        def difference(known: Done) -> list[float | None]:
            values = self._accuracies(known, norm)
            on_cross_entropy, worst = values["apgd_ce"], values["apgd"]
            return [None if on_cross_entropy is None or worst is None else on_cross_entropy - worst]

        def checks(known: Done) -> list[float | None]:
            clean = known[metric_key("attack_clean_top1", {})]
            curve = [known[metric_key(*_top1("apgd", norm, eps))] for eps in self.curves[norm]]
            found = masking_checks(self._accuracies(known, norm), [clean, *curve], network.images.size)
            return [found[name] for name in CHECKS]

        yield Measurement((_quantity("ce_minus_worst_case", norm),), difference)
        yield Measurement(tuple(("masking_check", {"check": name, "norm": norm}) for name in CHECKS), checks)

    def _quantities(self, network: AttackedNetwork, norm: Norm) -> dict[str, Callable[[], float | None]]:
        ball, steps = _ball(norm, self.checks_eps[norm]), self.budget.steps
        return {
            "fgsm_top1": lambda: network.fgsm(ball),
            "pgd_top1": lambda: network.pgd20(ball, ball.eps / 4, from_image=True),
            "apgd_ce_fewer_steps_top1": lambda: network.apgd_ce(ball, replace(self.budget, steps=max(steps // 4, 1))),
            "apgd_half_range_top1": lambda: network.apgd(network.half_range(norm), self.budget)[-1],
            "transfer_top1": lambda: network.transfer(ball, steps, "erm"),
            "square_top1": lambda: network.square(ball, self.square_queries) if self.square_queries else None,
            "zero_gradient": network.zero_gradient,
        }

    def _accuracies(self, known: Done, norm: Norm) -> dict[str, float | None]:
        """Accuracies at the checks' eps by attack."""
        eps = self.checks_eps[norm]
        named = {
            **{name: _quantity(f"{name}_top1", norm) for name in EXTRA_ATTACKS},
            **{name: _top1(name, norm, eps) for name in ("apgd", "apgd_ce")},
            "noise": _noise(norm, eps),
        }
        return {name: known[metric_key(*key)] for name, key in named.items()}

    def _check_classes(self, classes: int) -> None:
        if any(self.curves.values()):
            fewest = 4 if self.budget.targets else 3
            if classes < fewest:
                ratio = (
                    "targeted logits ratio (targets: 0 takes the untargeted one)"
                    if self.budget.targets
                    else "logits ratio"
                )
                raise BadInput(f"adversarial: the {ratio} needs {fewest} or more classes, this network has {classes}")


def _one(named: Named, measure: Callable[[], float | None]) -> Measurement:
    return Measurement((named,), lambda known: (measure(),))


def _unknowing(measure: Callable[[], Sequence[float | None]]) -> Callable[[Done], Sequence[float | None]]:
    return lambda known: measure()


def _ball(norm: Norm, eps: float) -> Ball:
    return Ball(norm, eps / 255 if norm == "linf" else eps)


def _top1(attack: str, norm: Norm, eps: float) -> Named:
    return "attack_top1", {"attack": attack, "norm": norm, "eps": eps}


def _noise(norm: Norm, eps: float) -> Named:
    return "random_noise_top1", {"norm": norm, "eps": eps}


def _quantity(quantity: str, norm: Norm) -> Named:
    return "masking_value", {"quantity": quantity, "norm": norm}
