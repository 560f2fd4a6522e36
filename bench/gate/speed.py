"""Step times of new sessions against a baseline's, on the same kind of machine."""

from __future__ import annotations

from collections.abc import Sequence

from bench.gate.baseline import SpeedEntry
from bench.gate.candidates import Candidate, differing_settings, packages_differ
from bench.gate.rows import Row, Verdict, cell_title
from bench.gate.step_times import limit_of, repeat_noise, rounds_needed, session_ratios, slowdown, twin_noise
from bench.records import SpeedSession
from bench.stats import median

MEASURE = "step time ratio"


def compare_speed(
    entries: Sequence[SpeedEntry], candidates: Sequence[Candidate], sessions: Sequence[SpeedSession]
) -> tuple[list[Row], str]:
    """A row for every timed row of the baseline and every candidate without one, and the limits in words.

    sessions: all that are recorded; only finished ones of the current code that are not the baseline's own count.
    """
    by_arm = {candidate.arm: candidate for candidate in candidates}
    stored = {session.name for entry in entries for session in entry.sessions}
    fresh = [session for session in sessions if session.status == "ok" and session.name not in stored]
    limits: dict[str, float] = {}
    for hardware in dict.fromkeys(entry.hardware for entry in entries):
        own = [[each.ratios for each in entry.sessions] for entry in entries if entry.hardware == hardware]
        here = [session for session in sessions if session.status == "ok" and session.begin.get("hardware") == hardware]
        limits[hardware] = limit_of(max(repeat_noise(own), twin_noise(here)))
    rows = [
        _row(entry, by_arm.get(entry.arm), candidates, fresh, limits[entry.hardware], len(entries)) for entry in entries
    ]
    known = {entry.arm for entry in entries} | {entry.reference for entry in entries}
    for candidate in candidates:
        if candidate.arm not in known and candidate.arm != candidate.reference and not candidate.skipped:
            labels, reason = candidate.labels, "not in the baseline; accept a new one"
            rows.append(Row(cell_title(labels), labels.method, candidate.arm, MEASURE, "not comparable", reason))
    words = "; ".join(f"{100 * limit:.1f} % slower on {hardware}" for hardware, limit in limits.items())
    return rows, words or "no step times in the baseline"


def counts_as_new(session: SpeedSession, candidate: Candidate, candidates: Sequence[Candidate]) -> bool:
    """Whether a session timed a row and its reference as the current code and the installed packages would."""
    digests = dict(session.begin.get("source_digests") or {})
    reference = next((other for other in candidates if other.arm == candidate.reference), None)
    return (
        reference is not None
        and session.begin.get("cell") == candidate.cell
        and digests.get(candidate.arm) == candidate.source_digest
        and digests.get(reference.arm) == reference.source_digest
        and not packages_differ(dict(session.begin.get("provenance") or {}))
    )


def _row(
    entry: SpeedEntry, candidate: Candidate | None, candidates: Sequence[Candidate], sessions: Sequence[SpeedSession],
    limit: float, rows: int,
) -> Row:  # fmt: skip
    def answer(verdict: Verdict, reason: str, **numbers: float | int | None) -> Row:
        labels = entry.labels
        return Row(cell_title(labels), labels.method, entry.arm, MEASURE, verdict, reason, **numbers)  # type: ignore[arg-type]

    if candidate is None:
        same = next((other for other in candidates if other.labels == entry.labels), None)
        if same is None:
            return answer("missing", "not in the given suites")
        return answer("not comparable", differing_settings(entry.spec, same.spec))
    if candidate.reference != entry.reference:
        return answer("not comparable", "the reference method is another one")
    current = [session for session in sessions if counts_as_new(session, candidate, candidates)]
    here = [session for session in current if session.begin.get("hardware") == entry.hardware]
    ratios = [found for session in here if (found := session_ratios(session, entry.arm, entry.reference))]
    if not ratios:
        elsewhere = sorted({str(session.begin.get("hardware")) for session in current} - {entry.hardware})
        if elsewhere:
            return answer("not comparable", f"timed on {', '.join(elsewhere)}; the baseline is of {entry.hardware}")
        return answer("missing", "no timing session of the current code", wanted=1)
    before = [session.ratios for session in entry.sessions]
    found = slowdown(before, ratios, rows)
    verdict = found.verdict(limit)
    counts = {"n_before": sum(map(len, before)), "n_after": sum(map(len, ratios))}
    reasons = {"pass": "not slower", "regression": "slower", "inconclusive": "more rounds are needed"}
    reason = reasons[verdict]
    if found.low is None:
        reason = f"an interval needs {rounds_needed(rows)} rounds before and now"
    return answer(
        verdict, reason,  # type: ignore[arg-type]
        before=median([ratio for session in before for ratio in session]),
        after=median([ratio for session in ratios for ratio in session]),
        change=found.quotient, low=found.low, high=found.high, wanted=int(verdict == "inconclusive"), **counts,
    )  # fmt: skip
