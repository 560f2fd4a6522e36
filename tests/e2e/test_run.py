"""From a suite to tables, again without work, after edits, after crashes."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import time
from pathlib import Path

import bench

NO_FIGURES = ("run", "tiny", "--no-figures")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_suite_becomes_tables_once(mixbench):
    first = mixbench(*NO_FIGURES)
    assert first.returncode == 0, first.stderr
    assert "4 runs, 0 of them done already" in first.stderr
    for word in ("ACCURACY", "ROBUSTNESS", "THROUGHPUT"):
        assert word in first.stdout
    tables = mixbench.folder / "results" / "local" / "tables" / "tiny"
    accuracy = rows(tables / "accuracy.csv")
    assert [row["method"] for row in accuracy] == ["erm", "mixup"]
    assert {row["n_ok"] for row in accuracy} == {row["n_planned"] for row in accuracy} == {"2"}
    before = mixbench.ended()
    assert len(before) == 4
    content = (tables / "accuracy.csv").read_bytes()

    again = mixbench(*NO_FIGURES)
    assert again.returncode == 0
    assert "4 runs, 4 of them done already" in again.stderr
    assert "worker" not in again.stderr
    assert mixbench.ended() == before
    assert (tables / "accuracy.csv").read_bytes() == content

    status = mixbench("status", "tiny")
    assert (status.returncode, status.stdout.strip()) == (0, "tiny: 4 runs; 4 done")
    table = mixbench("table", "tiny")
    assert table.returncode == 0
    assert (tables / "accuracy.csv").read_bytes() == content

    more = mixbench("eval", "tiny", "--evals", "clean,fgsm", "--set", "seeds=1")
    assert more.returncode == 0, more.stderr
    assert mixbench.ended() == before
    assert len(list(mixbench.records.glob("*/*/eval-fgsm-*.jsonl"))) == 2


def test_an_edited_method_makes_only_its_own_runs_stale(mixbench):
    """The installed package is left alone: a copy of it stands first on the path."""
    root = Path(bench.__file__).parent.parent
    for name in ("bench", "methods"):
        shutil.copytree(root / name, mixbench.folder / "copy" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(root / "configs", mixbench.folder / "copy" / "configs")
    mixbench.environment["PYTHONPATH"] = str(mixbench.folder / "copy")
    assert mixbench(*NO_FIGURES, "--set", "seeds=1").returncode == 0
    file = mixbench.folder / "copy" / "methods" / "mixup.py"
    file.write_text(file.read_text() + "\n# edited\n")
    plan = mixbench("run", "tiny", "--dry-run", "--set", "seeds=1").stdout.splitlines()
    assert ["stale" in line for line in plan] == [False, True]
    assert "nothing" in plan[0]
    again = mixbench(*NO_FIGURES, "--set", "seeds=1")
    assert again.returncode == 0
    assert "mixup seed 0: stale: its source changed since; is trained again" in again.stderr
    assert len(mixbench.ended()) == 3


def wait_for(condition, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_kill_9_loses_no_finished_run_and_the_next_call_goes_on(mixbench):
    process = mixbench.start(*NO_FIGURES, "--workers", "1", "--set", "protocol.epochs=20")
    wait_for(lambda: len(mixbench.ended()) >= 1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finished = mixbench.ended()
    assert 1 <= len(finished) < 4
    again = mixbench(*NO_FIGURES, "--set", "protocol.epochs=20")
    assert again.returncode == 0, again.stderr
    assert "of them done already" in again.stderr
    after = mixbench.ended()
    assert {path: after[path] for path in finished} == finished
    undisturbed = mixbench("run", "tiny", "--no-figures", "--results", "other", "--set", "protocol.epochs=20")
    assert undisturbed.returncode == 0
    one = mixbench.folder / "results" / "local" / "tables" / "tiny" / "accuracy.csv"
    two = mixbench.folder / "other" / "tables" / "tiny" / "accuracy.csv"
    assert one.read_bytes() == two.read_bytes()


def test_ctrl_c_saves_the_state_and_exits_130(mixbench):
    long = ("--workers", "1", "--set", "protocol.epochs=4000", "--set", "seeds=1", "--set", "methods=[erm]")
    process = mixbench.start("run", "tiny", "--no-figures", *long)
    wait_for(lambda: any('"epoch":3' in f.read_text() for f in mixbench.records.glob("*/*/train.jsonl")))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert len(list(mixbench.records.glob("*/*/checkpoint.pt"))) == 1
    plan = mixbench("run", "tiny", "--dry-run", *long[2:])
    assert "resume" in plan.stdout


def test_a_dead_worker_costs_one_run_and_is_told(mixbench):
    """A worker that is killed from outside, as by the system when memory runs out."""
    process = mixbench.start("run", "tiny", "--no-figures", "--workers", "1", "--set", "protocol.epochs=100",
                             "--set", "seeds=1")  # fmt: skip
    wait_for(lambda: any('"epoch":3' in f.read_text() for f in mixbench.records.glob("*/*/train.jsonl")))
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    (worker,) = [int(child) for task in tasks for child in task.read_text().split()]
    os.kill(worker, signal.SIGKILL)
    output, errors = process.communicate(timeout=250)
    assert process.returncode == 3, errors
    assert "killed by signal 9" in errors
    assert "1 run(s) missing" in errors
    assert len(mixbench.ended()) == 2
    assert "error" in output
