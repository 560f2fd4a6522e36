"""Jobs of the slurm executor without a SLURM: one is preempted, one is killed; the tables are those of a local sweep."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from bench.records import Store, read_record
from bench.records.lease import holder

pytest.importorskip("submitit", reason="the extra slurm is not installed")

RUNS = (
    "run", "tiny", "--no-figures", "--device", "cpu", "--set", "protocol.epochs=12", "--set",
    "protocol.evaluate_every=12",
)  # fmt: skip
JOBS = ("--executor", "slurm", "--executor-set", "cluster=local", "--executor-set", "parallel=2")


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def at_work(mixbench) -> dict[str, int]:
    """Runs that have made epochs and whose record is not at its end, with their workers' processes."""
    found = {}
    for record in mixbench.records.glob("*/*/train.jsonl"):
        lines = record.read_text()
        held = holder(mixbench.records.parent / "leases", record.parent.parent.name)
        if held is not None and lines.count('"kind":"epoch"') > 1 and '"kind":"end"' not in lines:
            found[record.parent.parent.name] = held.process
    return found


@pytest.mark.timeout(600)
def test_a_preempted_job_and_a_killed_one_go_on(mixbench):
    suite = mixbench.folder / "configs" / "suite" / "tiny.yaml"
    suite.write_text(suite.read_text() + "speed: none\n")
    process = mixbench.start(*RUNS, *JOBS)
    preempted: str | None = None
    killed: str | None = None
    end = time.monotonic() + 300
    while preempted is None or killed is None:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "never two runs at work"
        for run_id, worker in at_work(mixbench).items():
            with contextlib.suppress(OSError):
                job = parent(worker)
                if preempted is None:
                    os.kill(worker, signal.SIGUSR2)  # SLURM tells all processes of a job
                    os.kill(job, signal.SIGUSR2)
                    preempted = run_id
                elif killed is None and run_id != preempted:
                    os.kill(job, signal.SIGKILL)
                    os.kill(worker, signal.SIGKILL)
                    killed = run_id
        time.sleep(0.01)
    _, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    assert f"of {killed} ended without a result" in errors
    assert "it is submitted again" in errors
    store = Store(mixbench.records)
    assert len(store.runs()) == 4
    for record in store.runs():
        (attempt,) = store.attempts(record.run_id)
        assert attempt.status == "ok"
        lines = read_record(record.folder / "train.jsonl").lines
        kinds = [line["kind"] for line in lines]
        assert kinds.count("end") == 1
        assert kinds.count("resume") == (record.run_id in (preempted, killed))
        if record.run_id == preempted:  # its state was saved: no epoch was done twice
            assert kinds.count("epoch") == 12
            assert next(line["epoch"] for line in lines if line["kind"] == "resume") > 0
    local = mixbench(*RUNS, "--results", "alone", "--workers", "1")
    assert local.returncode == 0, local.stderr
    there, here = mixbench.records.parent / "tables" / "tiny", mixbench.folder / "alone" / "tables" / "tiny"
    for table in ("accuracy.csv", "robustness.csv"):
        assert (there / table).read_bytes() == (here / table).read_bytes()
