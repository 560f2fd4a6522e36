"""Accuracies of new runs against a baseline: by digest where the seeds are the same, by the decision rule elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.gate.baseline import Entry
from bench.gate.candidates import Candidate, NewRun, differing_settings
from bench.gate.decision import OPEN, PASS, RULE, SMALLEST_MEAN_TEST, Decision, Rule, decide, mean_margin
from bench.gate.measures import TOP1, Measure
from bench.gate.rows import Row, Verdict, cell_title
from bench.records import RunRecord
from bench.stats import mean

Read = Callable[[RunRecord], list[Measure]]


@dataclass(frozen=True)
class _Sample:
    """A row's place in the table and the new values that its decision rests on, in points."""

    place: int
    entry: Entry
    values: list[float]
    planned: int
    why: str


def compare(
    entries: Sequence[Entry], candidates: Sequence[Candidate], read: Read, margin: float, rule: Rule = RULE
) -> tuple[list[Row], Row | None]:
    """A row for every entry of the baseline and every candidate without one, and the test on their mean.

    margin: points. read: the measures of a run. Rows with equal digests or without usable runs take no part in the
    statistics.
    """
    by_arm = {candidate.arm: candidate for candidate in candidates}
    rows: list[Row | None] = []
    samples: list[_Sample] = []
    for entry in entries:
        found = _examined(entry, by_arm.get(entry.arm), candidates, read, rule)
        if isinstance(found, Row):
            rows.append(found)
        else:
            values, why = found
            samples.append(_Sample(len(rows), entry, values, len(by_arm[entry.arm].runs), why))
            rows.append(None)
    mean_row = None
    if samples:
        decision = _decision(samples, margin, rule)
        for place, sample in enumerate(samples):
            rows[sample.place] = _decided(sample, decision, place, margin, rule)
        mean_row = _mean_row(samples, decision, margin, rule)
    known = {entry.arm for entry in entries}
    new = [_unknown(candidate) for candidate in candidates if candidate.arm not in known and not candidate.skipped]
    return [*(row for row in rows if row is not None), *new], mean_row


def _examined(
    entry: Entry, candidate: Candidate | None, candidates: Sequence[Candidate], read: Read, rule: Rule
) -> Row | tuple[list[float], str]:
    """The finished row where no statistics are needed, else the new values and why there are no more."""
    if candidate is None:
        same = [other for other in candidates if other.labels == entry.labels]
        if same:
            return _row(entry, "not comparable", differing_settings(entry.spec, same[0].spec))
        return _row(entry, "missing", "not in the given suites")
    values: list[float] = []
    stopped = ""
    equal: list[bool] = []
    stored = {run.seed: run.equality for run in entry.runs}
    for new in candidate.runs:
        measure, why = _measure(entry, new, candidate.evals, read)
        if measure is None:
            stopped = stopped or f"seed {new.seed}: {why}"
            continue
        if entry.evaluator != measure.evaluator:
            return _row(entry, "not comparable", "the evaluator's version or settings have changed")
        if entry.points != measure.points:
            return _row(entry, "not comparable", "the evaluator measured other corruptions, radii or sets")
        if new.seed in stored:
            equal.append(bool(measure.equality) and stored[new.seed] == measure.equality)
        if not stopped:
            values.append(100 * measure.value)
    if equal and all(equal):
        before = 100 * mean([run.value for run in entry.runs])
        reason = f"identical outputs for {len(equal)} seed(s) of the baseline"
        return _row(entry, "pass", reason, before=before, n_after=len(equal))
    if not values:
        return _row(entry, "missing", stopped or "the suite plans no seed", wanted=rule.looks[0])
    return values, stopped


def _measure(entry: Entry, new: NewRun, evals: set[str], read: Read) -> tuple[Measure | None, str]:
    """The number of one run, or why it has none that counts."""
    if new.record is None:
        return None, new.why
    arm = entry.measure.split(" ")[0]
    if arm != TOP1 and arm not in evals:
        return None, f"the suite does not evaluate '{arm}'"
    if arm in new.unfinished:
        return None, f"evaluation by '{arm}' is missing or was made by other code"
    found = next((measure for measure in read(new.record) if measure.name == entry.measure), None)
    return found, f"the record has no {entry.measure}"


def _decision(samples: Sequence[_Sample], margin: float, rule: Rule) -> Decision:
    seeds = sorted({run.seed for sample in samples for run in sample.entry.runs})
    new = np.full((1, rule.looks[-1], len(samples)), np.nan)
    base = np.full((1, len(seeds), len(samples)), np.nan)
    kinds: dict[tuple[str, str], int] = {}
    groups: list[int] = []
    for place, sample in enumerate(samples):
        usable = sample.values[: rule.looks[-1]]
        new[0, : len(usable), place] = usable
        for run in sample.entry.runs:
            base[0, seeds.index(run.seed), place] = 100 * run.value
        kind = (str(sample.entry.spec["data"].get("digest")), sample.entry.measure)
        groups.append(kinds.setdefault(kind, len(kinds)))
    floor = np.array([100 / sample.entry.test_images for sample in samples])
    return decide(new, base, np.full(len(samples), margin), groups, floor, rule)


def _decided(sample: _Sample, decision: Decision, place: int, margin: float, rule: Rule) -> Row:
    code = int(decision.code[0, place])
    entry, wanted = sample.entry, int(decision.wanted[0]) if code == OPEN else 0
    if code == PASS:
        verdict: Verdict = "pass"
        reason = f"no drop of {margin:g} points"
    elif code == OPEN:
        verdict = "inconclusive"
        reason = _open_reason(sample, wanted, decision)
    else:
        verdict = "regression"
        reason = f"drop shown, and more than half the margin of {margin:g} points"
    return _row(
        entry, verdict, reason,
        before=100 * mean([run.value for run in entry.runs]),
        after=mean(sample.values[: int(decision.seeds[0, place])]),
        change=float(decision.difference[0, place]),
        low=float(decision.low[0, place]),
        high=float(decision.high[0, place]),
        p=float(decision.p[0, place]),
        n_after=int(decision.seeds[0, place]),
        wanted=wanted,
    )  # fmt: skip


def _open_reason(sample: _Sample, wanted: int, decision: Decision) -> str:
    if not wanted:
        regressed = bool((decision.code[0] > PASS).any() or decision.mean_regressed[0])
        return "open when another row ended the study" if regressed else "open after the last look: a person decides"
    if sample.planned < wanted:
        return f"{wanted} seeds are needed, the suite plans {sample.planned}"
    return f"{wanted} seeds are needed" + (f"; {sample.why}" if sample.why else "")


def _mean_row(samples: Sequence[_Sample], decision: Decision, margin: float, rule: Rule) -> Row | None:
    if len(samples) < 2:
        return None
    shared = set.intersection(*({run.seed for run in sample.entry.runs} for sample in samples))
    if len(shared) < SMALLEST_MEAN_TEST:
        return None
    dropped = bool(decision.mean_regressed[0])
    limit = mean_margin(np.full(len(samples), margin)) / 2
    reason = f"drop shown, and more than {limit:.2f} points" if dropped else "no drop shown"
    return Row(
        f"mean over {len(samples)} rows", "all methods", "", samples[0].entry.measure if _one(samples) else "all",
        "regression" if dropped else "pass", reason, change=float(decision.mean_difference[0]),
        p=float(decision.mean_p[0]), n_before=len(shared), n_after=int(decision.seeds[0].min()),
    )  # fmt: skip


def _one(samples: Sequence[_Sample]) -> bool:
    return len({sample.entry.measure for sample in samples}) == 1


def _row(entry: Entry, verdict: Verdict, reason: str, **numbers: float | int | None) -> Row:
    labels = entry.labels
    numbers.setdefault("n_before", len(entry.runs))
    return Row(cell_title(labels), labels.method, entry.arm, entry.measure, verdict, reason, **numbers)  # type: ignore[arg-type]


def _unknown(candidate: Candidate) -> Row:
    labels = candidate.labels
    reason = "not in the baseline; accept a new one"
    return Row(cell_title(labels), labels.method, candidate.arm, "", "not comparable", reason)
