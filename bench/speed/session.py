"""One interleaved timing session over the methods of one cell."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.backbones.stages import StageRefused
from bench.data.open import Splits
from bench.env import hardware, provenance
from bench.records.writer import RecordWriter
from bench.spec import Spec
from bench.speed.energy import joules_counter, joules_per_image
from bench.speed.split import PHASES, split_step
from bench.speed.step_timer import StepTimer
from bench.train.settings import library_settings
from bench.train.training import Skipped
from methods.api import Method

SETTINGS = ("rounds", "steps", "warmup")
TWIN = " (again)"
"""Ends the arm id and the label of the reference's second network."""
_ROUNDS_PER_SPLIT = 5


def time_methods(
    path: Path, specs: list[Spec], build: Callable[[Spec], Method], open_splits: Callable[[], Splits],
    device: torch.device, plan: dict[str, Any], digests: dict[str, str], report: Callable[[dict[str, Any]], None],
) -> None:  # fmt: skip
    """Write a session: after warm-up, `rounds` rounds of `steps` steps of every method, the order rotated by round.

    plan: the settings rounds, steps and warmup (steps of a block), and optionally `reference`, the arm that is built
    and timed twice as if it were two methods (the first one by default), `series` and `scaling`, which are kept in the
    begin line. digests: source digest by run id, so that a stale session is told from a current one. A method that
    cannot run here is left out, with its reason in its arm line. open_splits: gives every method a feed of its own
    where feeds have worker processes, which cannot be read in turns.
    """
    facts = provenance(device.type)
    first = specs[0]
    rounds, steps, warmup = (int(plan[name]) for name in SETTINGS)
    with library_settings(first.protocol), RecordWriter(path) as record:
        record.append(
            "begin",
            hardware=hardware(facts),
            precision=first.protocol.precision,
            torch=facts["torch_build"],
            labels=first.labels.model_dump(),
            provenance=facts,
            settings={name: plan[name] for name in SETTINGS},
            source_digests=digests,
            cell=first.cell,
            arms=[spec.arm for spec in specs],
            batch_size=first.protocol.batch_size,
            resolution=first.data.resolution,
            compile=first.protocol.compile,
            time=time.time(),
            **{name: plan[name] for name in ("series", "scaling") if plan.get(name) is not None},
        )
        timers: dict[str, StepTimer] = {}
        facts_of: dict[str, dict[str, Any]] = {}
        arms = _arms(specs, plan.get("reference"))
        for arm, spec, twin_of in arms:
            label = spec.labels.method + (TWIN if twin_of else "")
            try:
                timer = StepTimer(spec, build(spec), open_splits(), device, steps)
                warm = timer.warm_up(warmup)
                timer.settle()
            except (Skipped, StageRefused) as error:
                if not twin_of:
                    record.append("arm", arm=arm, label=label, skipped=str(error))
            else:
                timers[arm] = timer
                facts_of[arm] = {"arm": arm, "label": label, "warm_up": warm._asdict()}
                facts_of[arm] |= {"twin_of": twin_of} if twin_of else {}
            if not twin_of:
                report({"round": 0, "rounds": rounds + 1})
        timers = _twin_away(timers, arms[-1][2])
        splits = _split_rounds(timers, max(3, rounds // _ROUNDS_PER_SPLIT))
        report({"round": 1, "rounds": rounds + 1})
        for arm, timer in timers.items():
            record.append("arm", **facts_of[arm], **_once(timer), split=splits[arm])
        for number in range(rounds):
            for arm in _turns(list(timers), number):
                by_branch = timers[arm].seconds_by_branch()
                raw = {"branch_seconds": by_branch} if len(by_branch) > 1 else {}
                seconds = timers[arm].expected(by_branch)
                record.append("sample", arm=arm, label=facts_of[arm]["label"], round=number, seconds=seconds, **raw)
            report({"round": number + 2, "rounds": rounds + 1})
        record.append("end", status="ok")


def _arms(specs: list[Spec], reference: str | None) -> list[tuple[str, Spec, str | None]]:
    """Arm ids with their specs, and last the reference's twin with the arm that it is a twin of."""
    arms: list[tuple[str, Spec, str | None]] = [(spec.arm, spec, None) for spec in specs]
    arm, spec, _ = next((found for found in arms if found[0] == reference), arms[0])
    return [*arms, (arm + TWIN, spec, arm)]


def _twin_away(timers: dict[str, StepTimer], twin_of: str | None) -> dict[str, StepTimer]:
    """The timers in the order of their turns: the twin half a turn away from its like, so that other arms go before."""
    order = [arm for arm in timers if not arm.endswith(TWIN)]
    if twin_of in order:
        place = order.index(twin_of) + (len(order) + 1) // 2 - 1
        order.insert(place % len(order) + 1, f"{twin_of}{TWIN}")
    return {arm: timers[arm] for arm in order}


def _turns(arms: list[str], number: int) -> list[str]:
    shift = number % len(arms) if arms else 0
    return arms[shift:] + arms[:shift]


def _split_rounds(timers: dict[str, StepTimer], rounds: int) -> dict[str, dict[str, list[float]]]:
    """By arm and phase the seconds of each round."""
    found: dict[str, dict[str, list[float]]] = {arm: {phase: [] for phase in PHASES} for arm in timers}
    for number in range(rounds):
        for arm in _turns(list(timers), number):
            for phase, seconds in split_step(timers[arm]).items():
                found[arm][phase].append(seconds)
    return found


def _once(timer: StepTimer) -> dict[str, Any]:
    """What is measured once a method."""
    training = timer.training
    stage = getattr(training.method, "stage", None)
    batch = min(training.protocol.batch_size, training.feed.size)
    height, width = training.backbone.grid(stage) if isinstance(stage, int) else (0, 0)
    return {
        "passes_per_step": timer.passes_per_step(),
        "peak_memory": timer.peak_memory(),
        "images_per_step": batch,
        "joules_per_image": _energy(timer, batch),
        "branches": timer.shares,
        "positions": height * width or None,
    }


def _energy(timer: StepTimer, batch: int) -> float | None:
    counter = joules_counter(timer.device)
    if counter is None:
        return None

    def one_round() -> int:
        timer.seconds_by_branch()
        return batch * sum(timer.quotas.values())

    return joules_per_image(counter, one_round)
