"""What a suite will cost on given machines, from measured or stated speeds."""

from __future__ import annotations

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.config.compute_budget import LABEL, CostCell, CostTable
from bench.errors import BadInput
from bench.records import SpeedSession
from bench.spec import Spec
from bench.sweep.data_facts import known_facts
from bench.sweep.schedule import list_schedule
from bench.sweep.speeds import Speeds
from bench.sweep.todo import Todo

RUNS, STEPS, RATIO, STATED, UNKNOWN = "recorded runs", "timed steps", "cost table", "stated speed", "unknown"
"""Where a time comes from, the surest first: finished or running runs of the same table row; a timing session of it;
the reference's time by either, times a ratio; what the caller said; nowhere."""


@dataclass(frozen=True)
class Devices:
    """count machines whose hardware's name contains `name`. machine: that name in full, "" if none is on record."""

    count: int
    name: str
    machine: str


class Cost(NamedTuple):
    """One run. seconds: training and timed evaluators, None where unknown. source: where the training's come from."""

    spec: Spec
    seconds: float | None
    source: str


@dataclass(frozen=True)
class Plan:
    """costs: one a run, in the suite's order. unmeasured: evaluators without a time, which no run's seconds hold."""

    costs: list[Cost]
    devices: Devices
    unmeasured: tuple[str, ...]

    @property
    def known(self) -> list[float]:
        """Seconds of the runs whose cost is known."""
        return [cost.seconds for cost in self.costs if cost.seconds is not None]

    @property
    def wall_seconds(self) -> float:
        """Whole runs on the devices, one at a time on each, the longest first."""
        return list_schedule(self.known, self.devices.count)

    @property
    def shortest_seconds(self) -> float:
        """No schedule of whole runs ends sooner."""
        return max([sum(self.known) / self.devices.count, *self.known])

    @property
    def sources(self) -> dict[str, int]:
        """How many runs' times come from where."""
        found = Counter(cost.source for cost in self.costs)
        return {source: found[source] for source in (RUNS, STEPS, RATIO, STATED, UNKNOWN) if found[source]}


def parse_devices(text: str, machines: Sequence[str]) -> Devices:
    """Devices from "64xH200". machines: hardware names on record. BadInput for other text or several machines."""
    found = re.fullmatch(r"\s*([1-9][0-9]{0,6})\s*[xX]\s*(\S.*?)\s*", text)
    if found is None:
        raise BadInput(f"--devices: '{text}' is not COUNTxNAME, such as 64xH200")
    count, name = int(found[1]), found[2]
    matching = [machine for machine in machines if name.lower() in machine.lower()]
    exact = [machine for machine in matching if machine.lower() == name.lower()]
    if len(matching) > 1 and not exact:
        raise BadInput(f"--devices: '{name}' is in the name of several machines on record: {' | '.join(matching)}")
    return Devices(count, name, (exact or matching or [""])[0])


def make_plan(
    todo: Sequence[Todo], sessions: Sequence[SpeedSession], evaluators: Sequence[str], reference: str, devices: str,
    table: CostTable | None = None, images_per_second: float | None = None,
) -> Plan:  # fmt: skip
    """The cost of every planned run, finished ones too.

    table: step times relative to its reference method. images_per_second: training images, of the reference with a
    table, of every method without one; used where nothing was measured on the devices. BadInput where no run of the
    suite has a speed on them.
    """
    speeds = Speeds((item.spec, item.record) for item in todo if item.record is not None)
    timed = [session for session in sessions if session.status == "ok" and not session.begin.get("scaling")]
    machines = sorted({*speeds.machines, *(str(session.begin.get("hardware")) for session in timed)})
    wanted = parse_devices(devices, machines)
    steps = _step_seconds([one for one in timed if one.begin.get("hardware") == wanted.machine])
    bases = {item.spec.cell: item.spec for item in reversed(todo) if item.spec.labels.method == reference}
    missing: set[str] = set()
    costs: list[Cost] = []
    for item in todo:
        spec = item.spec
        epoch, source = _epoch(spec, speeds, steps, wanted.machine)
        if epoch is None:
            epoch, source = _related(spec, bases, speeds, steps, wanted.machine, table, images_per_second)
        if epoch is None:
            costs.append(Cost(spec, None, UNKNOWN))
            continue
        seconds = epoch * spec.effective_protocol.epochs
        for name in evaluators:
            measured = speeds.evaluator(spec, name, wanted.machine)
            if measured is None:
                missing.add(name)
            seconds += measured or 0.0
        costs.append(Cost(spec, seconds, source))
    plan = Plan(costs, wanted, tuple(sorted(missing)))
    if not plan.known:
        known = f"; there are times on: {' | '.join(machines)}" if machines else "; nothing is on record yet"
        raise BadInput(f"--devices: no run of this suite has a speed on '{wanted.name}'{known}; "
                       "run or time it there, or give --images-per-second")  # fmt: skip
    return plan


def images_an_epoch(spec: Spec) -> tuple[int, int]:
    """Steps and images of one epoch; a last partial batch is dropped, a split smaller than a batch is one."""
    size, batch = known_facts(spec.data).sizes["train"], spec.effective_protocol.batch_size
    steps = size // batch
    return (steps, steps * batch) if steps else (1, size)


def _epoch(spec: Spec, speeds: Speeds, steps: dict[tuple[str, str], float], machine: str) -> tuple[float | None, str]:
    if (seconds := speeds.row(spec, machine)) is not None:
        return seconds, RUNS
    if (step := steps.get((spec.cell, spec.arm))) is not None:
        return step * images_an_epoch(spec)[0], STEPS
    return None, UNKNOWN


def _related(
    spec: Spec, bases: dict[str, Spec], speeds: Speeds, steps: dict[tuple[str, str], float], machine: str,
    table: CostTable | None, images_per_second: float | None,
) -> tuple[float | None, str]:  # fmt: skip
    """By the ratio to the reference, else by what was stated."""
    ratio = _ratio(spec, table)
    if table is not None and ratio is None:
        return None, UNKNOWN
    base = bases.get(spec.cell)
    if ratio is not None and base is not None and base.labels.method == (table.file.reference if table else None):
        epoch, _ = _epoch(base, speeds, steps, machine)
        if epoch is not None:
            return epoch * ratio, RATIO
    if images_per_second is None:
        return None, UNKNOWN
    return images_an_epoch(spec)[1] / images_per_second * (ratio or 1.0), STATED


def _ratio(spec: Spec, table: CostTable | None) -> float | None:
    if table is None:
        return None
    labels = spec.labels
    names = (labels.data, labels.backbone, labels.protocol.removesuffix(f"-{LABEL}"))
    cells: dict[tuple[str, str, str], CostCell] = {(c.data, c.backbone, c.protocol): c for c in table.file.cells}
    if names not in cells:
        return None
    return 1.0 if labels.method == table.file.reference else cells[names].ratios.get(labels.method)


def _step_seconds(sessions: Sequence[SpeedSession]) -> dict[tuple[str, str], float]:
    """Median seconds of a step by cell and arm, of the newest session that timed the arm."""
    found: dict[tuple[str, str], float] = {}
    for session in sessions:
        times: dict[str, list[float]] = defaultdict(list)
        for sample in session.samples:
            times[str(sample.get("arm"))].append(float(sample["seconds"]))
        for arm, seconds in times.items():
            found[str(session.begin.get("cell")), arm] = statistics.median(seconds)
    return found
