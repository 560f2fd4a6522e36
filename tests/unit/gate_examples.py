"""Hand-made rows, runs and baselines for the gate's tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.gate.baseline import Baseline, BaselineRun, Entry, Margins, SpeedEntry
from bench.gate.candidates import Candidate, NewRun, arm_spec
from bench.gate.measures import TOP1, accuracy
from bench.records import RunRecord, Store
from bench.spec import Spec
from tests.golden.tables.example_records import make_spec, write_run

SOURCE = "source-1"


def run_of(root: Path, spec: Spec, top1: float, classes: Sequence[int] | None = None) -> RunRecord:
    """A finished run, with the predicted classes that are given."""
    folder = write_run(root, spec, top1)
    if classes is not None:
        np.savez_compressed(folder / "predictions.npz", top1=np.array(classes, dtype=np.uint8))
    record = Store(root).run(spec.run_id)
    assert record is not None
    return record


def candidate_of(
    specs: Sequence[Spec], records: Sequence[RunRecord | None], *, why: str = "no record", evals: Sequence[str] = (),
    unfinished: Sequence[str] = (), reference: str | None = None,
) -> Candidate:  # fmt: skip
    """A planned row with its runs."""
    first = specs[0]
    runs = [
        NewRun(spec.seed, record, "" if record else why, frozenset(unfinished))
        for spec, record in zip(specs, records, strict=True)
    ]
    return Candidate(first.labels, first.arm, first.cell, arm_spec(first), SOURCE, reference, set(evals), runs)


def entry_of(spec: Spec, values: Sequence[float], equality: Sequence[str] | None = None, **changes: Any) -> Entry:
    """A baseline entry with seeds 0, 1, ..."""
    runs = tuple(
        BaselineRun(
            seed=seed, run_id=spec.run_id, attempt="a", source_digest=SOURCE, value=value,
            equality=equality[seed] if equality else "",
        )
        for seed, value in enumerate(values)
    )  # fmt: skip
    plain = {"measure": TOP1, "labels": spec.labels, "arm": spec.arm, "spec": arm_spec(spec), "test_images": 1000}
    return Entry(**{**plain, "runs": runs, **changes})


def baseline_of(entries: Sequence[Entry], speed: Sequence[SpeedEntry] = ()) -> Baseline:
    """A baseline file of these entries."""
    return Baseline(
        kind="mixbench baseline", schema_version=1, created="2026-01-02T03:04:05Z", reason="example", code={}, suites=(),
        margins=Margins(accuracy=0.5, robustness=1.0), accuracy=tuple(entries), speed=tuple(speed),
    )  # fmt: skip


def seeds_of(method: str, seeds: Sequence[int]) -> list[Spec]:
    """Specs that differ in the seed only."""
    return [make_spec(method, seed) for seed in seeds]


def rerun(root: Path, specs: Sequence[Spec], values: Sequence[float], **options: Any) -> Candidate:
    """A row whose planned seeds have all been run."""
    return candidate_of(
        specs, [run_of(root, spec, value) for spec, value in zip(specs, values, strict=True)], **options
    )


def top1_of(record: RunRecord) -> list[Any]:
    """What the accuracy gate reads of a run."""
    found = accuracy(record)
    return [found] if found else []


def without_predictions(record: RunRecord) -> RunRecord:
    """The same run, whose predictions are gone."""
    (record.folder / "predictions.npz").unlink()
    return replace(record)
