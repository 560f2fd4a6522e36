"""The study's baseline holds what its committed records hold, read here line by line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from bench.gate.baseline import read_baseline

ROOT = Path(__file__).resolve().parent.parent.parent
BASELINE = read_baseline(ROOT / "results" / "baselines" / "robustness-study.json")
RECORDS = ROOT / "results" / "reference" / "robustness-study" / "records"


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def all_runs() -> dict[str, Path]:
    return {folder.name: next(folder.iterdir()) for folder in sorted(RECORDS.iterdir()) if folder.name != "speed"}


def test_every_committed_run_is_in_it_once_with_its_last_accuracy():
    stored = {run.run_id: (entry, run) for entry in BASELINE.accuracy for run in entry.runs}
    folders = all_runs()
    assert set(stored) == set(folders)
    for run_id, folder in folders.items():
        entry, run = stored[run_id]
        read = lines(folder / "train.jsonl")
        begin = next(line for line in read if line["kind"] == "begin")
        last = [line for line in read if line["kind"] == "epoch"][-1]
        assert run.value == last["test"]["top1"]
        assert (run.seed, run.source_digest) == (begin["spec"]["seed"], begin["source_digest"])
        assert (run.attempt, entry.labels.method) == (folder.name, begin["labels"]["method"])
        with np.load(folder / "predictions.npz") as kept:
            classes = kept["top1"].astype("<i8").tobytes()
        assert run.equality == hashlib.blake2b(classes, digest_size=8).hexdigest()


def test_corrupted_accuracies_are_means_over_the_records_lines():
    entries = [entry for entry in BASELINE.robustness if entry.measure == "corruptions-small corruption_top1"]
    assert [entry.labels.method for entry in entries] == [entry.labels.method for entry in BASELINE.accuracy]
    folders = all_runs()
    for entry in entries:
        for run in entry.runs:
            (file,) = folders[run.run_id].glob("eval-corruptions-small-*.jsonl")
            values = [line["value"] for line in lines(file) if line.get("name") == "corruption_top1"]
            assert len(values) == 75
            assert run.value == pytest.approx(sum(values) / 75, abs=1e-12)


def test_nothing_of_the_machine_is_in_it():
    assert all(not value.startswith("/") for suite in BASELINE.suites for value in suite.assignments)
    assert {suite.name for suite in BASELINE.suites} == {"robustness-study"}
