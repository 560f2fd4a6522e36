"""Two sweeps over one folder share the runs; a worker that is paused, loses its run and wakes up spoils nothing."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from bench.records import Store, read_record
from bench.records.lease import holder

RUNS = (
    "run",
    "tiny",
    "--no-figures",
    "--workers",
    "1",
    "--set",
    "protocol.epochs=24",
    "--executor-set",
    "lease_seconds=4",
)


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def held_by(mixbench, sweep: int) -> tuple[str, int] | None:
    """A run that a worker of this sweep is training, and the worker."""
    folder = mixbench.records.parent / "leases"
    for run in folder.iterdir() if folder.is_dir() else ():
        found = holder(folder, run.name)
        mine = found is not None and not found.gone and parent_of(found.process) == sweep
        records = mixbench.records.glob(f"{run.name}/*/train.jsonl") if mine else ()
        if any('"epoch":2,' in file.read_text() for file in records):
            return run.name, found.process
    return None


@pytest.mark.timeout(600)
def test_two_sweeps_one_of_them_paused_in_the_middle(mixbench):
    suite = mixbench.folder / "configs" / "suite" / "tiny.yaml"
    suite.write_text(suite.read_text() + "speed: none\n")
    first, second = mixbench.start(*RUNS), mixbench.start(*RUNS)
    end = time.monotonic() + 200
    while (found := held_by(mixbench, first.pid)) is None:
        assert first.poll() is None, "the first sweep ended before it could be paused"
        assert time.monotonic() < end
        time.sleep(0.01)
    run_id, worker = found
    os.kill(worker, signal.SIGSTOP)
    try:
        _, errors = second.communicate(timeout=300)
        assert second.returncode == 0, errors
        before = {path: path.read_bytes() for path in mixbench.records.glob("*/*/*.jsonl")}
    finally:
        os.kill(worker, signal.SIGCONT)
    _, errors = first.communicate(timeout=200)
    assert first.returncode == 0, errors

    store = Store(mixbench.records)
    assert len(store.runs()) == 4
    for record in store.runs():
        attempts = store.attempts(record.run_id)
        assert [attempt.status for attempt in attempts].count("ok") == 1
        assert len(attempts) == (2 if record.run_id == run_id else 1)
        assert not any(attempt.damaged or attempt.torn for attempt in attempts)
        for file in record.folder.glob("*.jsonl"):
            assert before[file] == file.read_bytes()
            kinds = [line["kind"] for line in read_record(file).lines]
            assert (kinds.count("end"), kinds.count("begin")) == (1, 1)
    leases = mixbench.records.parent / "leases"
    assert [run.name for run in leases.iterdir() if holder(leases, run.name) is not None] == []

    alone = mixbench(*RUNS, "--results", "alone")
    assert alone.returncode == 0, alone.stderr
    there, here = mixbench.records.parent / "tables" / "tiny", mixbench.folder / "alone" / "tables" / "tiny"
    assert (there / "accuracy.csv").read_bytes() == (here / "accuracy.csv").read_bytes()
