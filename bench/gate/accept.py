"""Write a new baseline from what a store holds of the current code."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.config.overrides import parse_set_options
from bench.config.suite import load_suite
from bench.env import code_state, package_versions
from bench.errors import BadInput, Incomplete
from bench.gate.baseline import (
    FEWEST_SEEDS,
    Baseline,
    BaselineRun,
    BaselineSession,
    Entry,
    Margins,
    PlannedSuite,
    SpeedEntry,
    write_baseline,
)
from bench.gate.candidates import Candidate, find_candidates
from bench.gate.decision import RULE
from bench.gate.measures import Measure, accuracy, robustness, test_images
from bench.gate.speed import counts_as_new
from bench.gate.step_times import session_ratios
from bench.records import RunRecord, SpeedSession, Store


@dataclass(frozen=True)
class Accepted:
    """A baseline that was written, and the planned rows without runs that are not in it."""

    baseline: Baseline
    left_out: list[str]


def accept(
    path: Path, suites: Sequence[str], store: Store, reason: str, margins: Margins, assignments: Sequence[str] = (),
    alpha: float = RULE.alpha, recorded: bool = False,
) -> Accepted:  # fmt: skip
    """Make the runs of the current code the baseline. Every planned run must be there, but rows may be skipped.

    alpha: as `Baseline` has it. recorded: runs count whatever code made them; the file keeps their source digests,
    so that they never pass for new ones.

    BadInput where a run is missing, stale, failed or not evaluated, where a row has fewer than FEWEST_SEEDS seeds, or
    without a reason or a suite.
    """
    if not reason.strip():
        raise BadInput("--reason: say in a line why this baseline is right")
    if not suites:
        raise BadInput("gate accept: name the suites whose runs become the baseline")
    loaded = [load_suite(name, parse_set_options(list(assignments))) for name in suites]
    candidates = find_candidates(loaded, store, recorded)
    kept = [candidate for candidate in candidates if not candidate.skipped]
    if not kept:
        raise BadInput("gate accept: every method of the suite was skipped, so there is nothing to compare with")
    for candidate in kept:
        _complete(candidate)
    sessions = [session for session in store.sessions() if session.status == "ok"]
    runs = {candidate.arm: _records(candidate) for candidate in kept}
    baseline = Baseline(
        kind="mixbench baseline",
        schema_version=1,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        reason=reason.strip(),
        replaces=hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest() if path.is_file() else "",
        code=_made_by(runs) if recorded else {**code_state(), "packages": package_versions()},
        suites=tuple(PlannedSuite(name=name, assignments=tuple(assignments)) for name in suites),
        margins=margins,
        alpha=alpha,
        accuracy=tuple(_accuracy_entry(candidate, runs[candidate.arm]) for candidate in kept),
        robustness=tuple(entry for each in kept for entry in _robustness_entries(each, runs[each.arm])),
        speed=tuple(entry for each in kept for entry in _speed_entries(each, candidates, sessions)),
    )
    write_baseline(path, baseline)
    left_out = [f"{each.labels.method}: {each.runs[0].why}" for each in candidates if each.skipped]
    return Accepted(baseline, left_out)


def _made_by(runs: dict[str, dict[int, RunRecord]]) -> dict[str, Any]:
    """All commits and package versions that records tell."""
    told = [record.provenance for rows in runs.values() for record in rows.values()]
    versions: dict[str, set[str]] = {}
    for each in told:
        for name, version in (each.get("packages") or {}).items():
            versions.setdefault(str(name), set()).add(str(version))
    return {
        "git_commits": sorted({str(each.get("git_commit")) for each in told}),
        "packages": {name: sorted(found) for name, found in sorted(versions.items())},
    }


def _complete(candidate: Candidate) -> None:
    name = f"{candidate.labels.method} ({candidate.labels.data}, {candidate.labels.backbone})"
    for run in candidate.runs:
        if run.record is None:
            raise Incomplete(f"{name} seed {run.seed}: {run.why}; bring the suite up to date with `mixbench run` first")
        if run.unfinished:
            missing = ", ".join(sorted(run.unfinished))
            raise Incomplete(f"{name} seed {run.seed}: not evaluated by {missing}; run `mixbench eval` first")
    if len(candidate.runs) < FEWEST_SEEDS:
        raise BadInput(f"{name}: a baseline needs at least {FEWEST_SEEDS} seeds, 10 are better; there are "
                       f"{len(candidate.runs)}")  # fmt: skip


def _records(candidate: Candidate) -> dict[int, RunRecord]:
    return {run.seed: run.record for run in candidate.runs if run.record is not None}


def _accuracy_entry(candidate: Candidate, runs: dict[int, RunRecord]) -> Entry:
    measures = {seed: accuracy(record) for seed, record in runs.items()}
    found = {seed: measure for seed, measure in measures.items() if measure is not None}
    for seed in measures.keys() - found.keys():
        raise BadInput(f"{candidate.labels.method} seed {seed}: the record has no test accuracy after the last epoch")
    return _entry(candidate, runs, found)


def _robustness_entries(candidate: Candidate, runs: dict[int, RunRecord]) -> list[Entry]:
    by_seed = {
        seed: {each.name: each for each in robustness(record) if each.name.split(" ")[0] in candidate.evals}
        for seed, record in runs.items()
    }
    names = sorted(set.intersection(*(set(found) for found in by_seed.values())))
    made: list[Entry] = []
    for name in names:
        found = {seed: measures[name] for seed, measures in by_seed.items()}
        if len({(measure.points, measure.evaluator) for measure in found.values()}) == 1:
            made.append(_entry(candidate, runs, found))
    return made


def _entry(candidate: Candidate, runs: dict[int, RunRecord], found: dict[int, Measure]) -> Entry:
    first = next(iter(found.values()))
    return Entry(
        **_common(candidate),
        measure=first.name,
        test_images=max(1, test_images(next(iter(runs.values())))),
        points=first.points,
        evaluator=first.evaluator,
        runs=tuple(
            BaselineRun(
                seed=seed, run_id=runs[seed].run_id, attempt=runs[seed].attempt,
                source_digest=runs[seed].source_digest, value=measure.value, equality=measure.equality,
            )
            for seed, measure in found.items()
        ),
    )  # fmt: skip


def _speed_entries(
    candidate: Candidate, candidates: Sequence[Candidate], sessions: Sequence[SpeedSession]
) -> list[SpeedEntry]:
    reference = candidate.reference
    if reference is None or reference == candidate.arm:
        return []
    found: dict[str, list[tuple[SpeedSession, list[float]]]] = {}
    for session in sessions:
        ratios = session_ratios(session, candidate.arm, reference)
        if ratios and counts_as_new(session, candidate, candidates):
            found.setdefault(str(session.begin.get("hardware")), []).append((session, ratios))
    return [
        SpeedEntry(
            **_common(candidate), reference=reference, hardware=hardware, torch=str(timed[-1][0].begin.get("torch")),
            sessions=tuple(
                BaselineSession(name=session.name, source_digest=candidate.source_digest, ratios=tuple(ratios))
                for session, ratios in timed
            ),
        )
        for hardware, timed in sorted(found.items())
    ]  # fmt: skip


def _common(candidate: Candidate) -> dict[str, Any]:
    return {"labels": candidate.labels, "arm": candidate.arm, "spec": candidate.spec}
