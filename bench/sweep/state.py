"""What each run of a suite is doing, told from records and leases, so that any machine that sees them can ask."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.records.attempt import planned_epochs
from bench.records.lease import Holder, holder
from bench.sweep.schedule import list_schedule
from bench.sweep.speeds import Speeds, machine_of
from bench.sweep.todo import Todo

STATES = ("done", "running", "failed", "waiting")
ACTIVE_SECONDS = 180.0
"""A run without an end whose files changed this recently is taken to be running; checkpoints are due every 60 s."""
FAILED = ("error", "oom", "timeout", "diverged")


@dataclass(frozen=True)
class RunState:
    """state: one of STATES. epochs_done, epochs: of the attempt that counts. machine: its hardware, "" if unknown.

    quiet: seconds since a file of a run without an end changed, None for other runs. host: where the process is that
    does a running run, "" if unknown, and which.
    """

    item: Todo
    state: str
    epochs_done: int
    epochs: int
    machine: str
    quiet: float | None
    host: str = ""
    process: int | None = None

    @property
    def why(self) -> str:
        """What a person wants to know of a run that is not done."""
        record = self.item.record
        if self.state == "running":
            what = "evaluating" if self.item.need == "evaluate" else f"epoch {self.epochs_done} of {self.epochs}"
            where = f"on {self.host}, process {self.process}" if self.host else ""
            quiet = f"last change {self.quiet:.0f} s ago" if self.quiet is not None else ""
            return ", ".join(filter(None, (what, quiet, where, self.machine)))
        if self.state == "failed" and record is not None:
            return f"{record.status}: {record.reason}" if record.reason else record.status
        return record.reason if record is not None and record.reason and self.state != "waiting" else self.item.why


@dataclass
class TimeLeft:
    """Seconds of work that are left, one entry a run, and what they are without.

    guessed: runs whose method was not timed on this machine and that were given their cell's median. unknown: runs of
    cells that were not timed at all. unmeasured: evaluators not timed.
    """

    machine: str
    seconds: list[float] = field(default_factory=list[float])
    guessed: int = 0
    unknown: int = 0
    unmeasured: set[str] = field(default_factory=set[str])

    def with_workers(self, workers: int) -> float:
        """Seconds until the last run ends with this many runs at a time."""
        return list_schedule(self.seconds, workers)


def run_states(todo: Sequence[Todo], now: float | None = None, leases: Path | None = None) -> list[RunState]:
    """The state of each run. now: seconds since 1970, as the files' times are. leases: folder of the sweeps' leases.

    A run is running while its lease is renewed. One without a lease is taken to be running while its files change,
    since records may have been copied without leases; but a run whose holder is known to be gone is not.
    """
    moment = time.time() if now is None else now
    held = {} if leases is None else _held(leases, moment)
    return [_state(item, moment, held) for item in todo]


def time_left(states: Sequence[RunState], evaluators: Sequence[str]) -> TimeLeft:
    """What the runs that are not done still take on the machine of the newest of them.

    evaluators: names of those that every run is to have.
    """
    speeds = Speeds((one.item.spec, one.item.record) for one in states if one.item.record is not None)
    left = TimeLeft(speeds.latest)
    for one in states:
        if one.item.need == "nothing":
            continue
        spec, training = one.item.spec, one.item.need != "evaluate"
        epochs = one.epochs - (one.epochs_done if one.item.need == "resume" or one.state == "running" else 0)
        seconds = 0.0
        if training and epochs > 0:
            epoch = speeds.row(spec, left.machine)
            if epoch is None:
                epoch = speeds.cell(spec, left.machine)
                left.guessed += epoch is not None
            if epoch is None:
                left.unknown += 1
                continue
            seconds = epochs * epoch
        for name in evaluators if training else [each["arm"]["name"] for each in one.item.evals]:
            measured = speeds.evaluator(spec, name, left.machine)
            if measured is None:
                left.unmeasured.add(name)
            seconds += measured or 0.0
        left.seconds.append(seconds)
    return left


def _state(item: Todo, now: float, held: dict[str, Holder]) -> RunState:
    record, own = item.record, held.get(item.spec.run_id)
    epochs, machine = item.spec.effective_protocol.epochs, machine_of(record.provenance) if record is not None else ""
    if record is not None and item.need == "nothing":
        state = "done" if record.status in ("ok", "skipped") else "failed"
        return RunState(item, state, planned_epochs(record.spec) or epochs, epochs, machine, None)
    stale = item.why.startswith("stale")
    evaluation = item.need == "evaluate"
    open_ended = record is not None and (evaluation or (record.status == "incomplete" and not stale))
    quiet = max(0.0, now - _last_change(record.folder, evaluation)) if record is not None and open_ended else None
    done = record.training.epochs if record is not None and (open_ended or item.need == "resume") else 0
    if own is not None and not own.gone:
        return RunState(item, "running", done, epochs, machine, quiet, own.host, own.process)
    if own is None and quiet is not None and quiet < ACTIVE_SECONDS:
        return RunState(item, "running", done, epochs, machine, quiet)
    failed = record is not None and record.status in FAILED and not stale
    return RunState(item, "failed" if failed else "waiting", done, epochs, machine, quiet)


def _held(leases: Path, now: float) -> dict[str, Holder]:
    """By run id who holds it: leases that were renewed lately, and those whose holder is known to be gone."""
    found: dict[str, Holder] = {}
    if not leases.is_dir():
        return found
    with os.scandir(leases) as entries:
        for entry in entries:
            one = holder(leases, entry.name)
            if one is None:
                continue
            file = leases / entry.name / str(one.generation)
            renewed = file.stat().st_mtime if file.is_file() else 0.0
            if one.gone or now - renewed < max(ACTIVE_SECONDS, one.seconds):
                found[entry.name] = one
    return found


def _last_change(folder: Path, evaluation: bool) -> float:
    """The newest change in an attempt's folder, 0 without any; of a finished run the log alone tells of new work."""
    newest = 0.0
    with os.scandir(folder) as entries:
        for entry in entries:
            if not evaluation or entry.name.startswith(("eval-", "log.")):
                newest = max(newest, entry.stat().st_mtime)
    return newest
