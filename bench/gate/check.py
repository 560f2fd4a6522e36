"""One gate from start to end: read the baseline, look, train what the next look wants, answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.config.overrides import parse_set_options
from bench.config.suite import Planned, SpeedSettings, Suite, load_suite
from bench.errors import BadInput
from bench.gate.baseline import Baseline, read_baseline
from bench.gate.candidates import find_candidates
from bench.gate.compare import compare
from bench.gate.decision import RULE, Rule
from bench.gate.measures import Measure, accuracy, robustness
from bench.gate.rows import Kind, Outcome
from bench.gate.speed import compare_speed
from bench.records import RunRecord, Store
from bench.sweep.options import Options
from bench.sweep.speed import time_cells
from bench.sweep.sweep import run_sweep
from bench.sweep.todo import with_digests

SPEED_LOOKS = 2
"""Timing sessions that one gate starts at most."""


def gate(
    kind: Kind, baseline: Path, suites: Sequence[str], store: Store, assignments: Sequence[str] = (),
    machine: Options | None = None,
) -> Outcome:  # fmt: skip
    """Compare what a store holds of the current code with a baseline.

    suites: names or paths; none for those of the baseline, with its own settings under the given assignments.
    machine: how to train and time what is wanted; None starts nothing. BadInput for a damaged baseline or suite.
    """
    stored = read_baseline(baseline)
    loaded = _suites(stored, suites, assignments)
    outcome = _look(kind, baseline, stored, loaded, store)
    looks = SPEED_LOOKS if kind == "speed" else len(RULE.looks)
    for _ in range(looks if machine is not None else 0):
        if outcome.verdict == "regression" or not _start(kind, outcome, loaded, store, machine or Options()):
            break
        outcome = _look(kind, baseline, stored, loaded, store)
    return outcome


def _suites(stored: Baseline, suites: Sequence[str], assignments: Sequence[str]) -> list[Suite]:
    given = [(name, list(assignments)) for name in suites]
    if not given:
        given = [(suite.name, [*suite.assignments, *assignments]) for suite in stored.suites]
    if not given:
        raise BadInput("no suite given, and the baseline names none; write `mixbench gate KIND SUITE --baseline FILE`")
    return [load_suite(name, parse_set_options(options)) for name, options in given]


def _look(kind: Kind, path: Path, stored: Baseline, suites: Sequence[Suite], store: Store) -> Outcome:
    candidates = find_candidates(suites, store)
    notes = [f"baseline of {stored.created}: {stored.reason}"]
    if kind == "speed":
        rows, limit = compare_speed(stored.speed, candidates, store.sessions())
        return Outcome(kind, str(path), limit, rows, None, notes)
    entries = stored.accuracy if kind == "accuracy" else stored.robustness
    margin = getattr(stored.margins, kind)
    rule = Rule(alpha=stored.alpha)
    rows, mean = compare(entries, candidates, _top1 if kind == "accuracy" else robustness, margin, rule)
    limit = (
        f"margin {margin:g} points; looks after {', '.join(map(str, rule.looks))} new seeds; false regressions in at "
        f"most {100 * rule.alpha:g} % of studies"
    )
    return Outcome(kind, str(path), limit, rows, mean, notes)


def _top1(run: RunRecord) -> list[Measure]:
    found = accuracy(run)
    return [found] if found is not None else []


def _start(kind: Kind, outcome: Outcome, suites: Sequence[Suite], store: Store, machine: Options) -> bool:
    """Train or time what rows want; whether anything was started."""
    wanted = {row.arm: row.wanted for row in outcome.rows if row.wanted}
    started = False
    for suite in suites:
        part = _part(suite, wanted, kind)
        if not part.planned:
            continue
        started = True
        if kind == "speed":
            settings = suite.file.speed if suite.file.speed != "none" else SpeedSettings()
            time_cells(suite, store, settings, machine, anew=True)
        else:
            run_sweep(part, store, machine)
    return started


def _part(suite: Suite, wanted: dict[str, int], kind: Kind) -> Suite:
    """The first wanted seeds of the wanted rows, with the evaluators that the gate reads."""
    seen: Counter[str] = Counter()
    planned: list[Planned] = []
    for item, (spec, _) in zip(suite.planned, with_digests(suite), strict=True):
        seen[spec.arm] += 1
        if seen[spec.arm] <= wanted.get(spec.arm, 0):
            planned.append(item)
    evals = suite.file.evals if kind == "robustness" else ()
    return replace(suite, planned=planned, file=suite.file.model_copy(update={"speed": "none", "evals": evals}))
