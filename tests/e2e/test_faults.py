"""Runs that fail in every way, a full disk, kill -9: each costs its own run at most, and the next call makes it good.

One process imports everything and forks all others, since importing torch for each worker would take most of the time.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bench

ROOT = Path(bench.__file__).parent.parent

FAILING = '''
"""A method that fails in the way that is asked for."""
from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Ge

from methods.api import Loss, Method


class Failing(Method):
    """Fails."""

    title = "Failing"
    family = "input"

    def __init__(self, *, way: Annotated[int, Ge(0)] = 0) -> None:
        super().__init__()
        self.way = way

    def draw(self, key, shape):
        if self.way == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        if self.way == 2:
            raise MemoryError
        if self.way == 3:
            raise RuntimeError("a fault of the method")
        if self.way == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.way == 5:
            newest = max(Path("results/local/records").glob("*/*/log.txt"), key=lambda path: path.stat().st_ctime)
            shutil.rmtree(newest.parent)
            shutil.rmtree("results/local/logs")
            raise RuntimeError("its folder is gone")
        if self.way == 6:
            time.sleep(1000)
        return super().draw(key, shape)

    def loss(self, backbone, batch, draws):
        total = super().loss(backbone, batch, draws).total
        return Loss(total * float("nan") if self.way == 7 else total, {})
'''
WAYS = {"device-memory": 1, "host-memory": 2, "fault": 3, "killed": 4, "folder": 5, "hangs": 6, "diverges": 7}
SWEEP = ["run", "tiny", "--no-figures", "--workers", "1", "--threads", "1", "--device", "cpu", "--set", "seeds=1"]

DRIVER = """
import json, os, resource, sys, time
from pathlib import Path
import bench.cli.run_command, bench.run.worker
from tools.forked_processes import PIDS, fork_mixbench

for arguments, most_bytes in json.loads(sys.argv[1]):
    pid = fork_mixbench(arguments, Path.cwd(), 60.0)
    if most_bytes:
        end = time.monotonic() + 120
        while not any('"kind":"end"' in file.read_text() for file in Path("results/local/records").glob("*/*/*.jsonl")):
            assert time.monotonic() < end
            time.sleep(0.01)
        for one in (pid, *map(int, Path(PIDS).read_text().split())):
            resource.prlimit(one, resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    Path("life.txt").rename(f"printed-{len(list(Path.cwd().glob('printed-*')))}.txt")
"""


class Forked:
    """Calls mixbench through forks, in the folder of `mixbench`."""

    def __init__(self, mixbench) -> None:
        self.folder: Path = mixbench.folder
        self.environment = mixbench.environment

    def __call__(self, *calls: tuple[list[str], int]) -> list[tuple[int, str]]:
        """calls: arguments, and the file size in bytes above which nothing can be written any more from the moment on
        when the first run has ended, 0 for none. Exit code and all that was printed, of each."""
        command = [sys.executable, "-P", "-c", DRIVER, json.dumps(calls)]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=400, check=False
        )
        assert done.returncode == 0, done.stderr
        printed = [self.folder / f"printed-{number}.txt" for number in range(len(calls))]
        return [(int(code), path.read_text()) for code, path in zip(done.stdout.split(), printed, strict=True)]

    def finished(self) -> dict[Path, bytes]:
        """The training records of the runs that ended ok."""
        files = (self.folder / "results" / "local" / "records").glob("*/*/train.jsonl")
        return {file: file.read_bytes() for file in files if b'"status":"ok"' in file.read_bytes()}

    def records(self) -> dict[str, dict[str, list]]:
        """By method label: the kinds of the lines, and the ends' statuses and reasons, over all attempts."""
        found: dict[str, dict[str, list]] = {}
        for file in sorted((self.folder / "results" / "local" / "records").glob("*/*/train.jsonl")):
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            ends = [(line["status"], line["reason"]) for line in lines if line["kind"] == "end"]
            found.setdefault(lines[0]["labels"]["method"], []).extend(ends)
        return found


@pytest.fixture
def forked(mixbench) -> Forked:
    """The package is copied to the test's folder, where it gets a method that fails."""
    for name in ("bench", "methods", "configs"):
        shutil.copytree(ROOT / name, mixbench.folder / "copy" / name, ignore=shutil.ignore_patterns("__pycache__"))
    (mixbench.folder / "copy" / "methods" / "failing.py").write_text(FAILING)
    mixbench.environment["PYTHONPATH"] = os.pathsep.join([str(mixbench.folder / "copy"), str(ROOT)])
    for name, way in WAYS.items():
        mixbench.write(f"method/{name}.yaml", f"implementation: failing\nway: {way}\n")
    mixbench.write("protocol/tiny.yaml", "epochs: 2\nbatch_size: 10\nlearning_rate: 1e-3\nevaluate_every: 2\n")
    suite = mixbench.folder / "configs" / "suite" / "tiny.yaml"
    suite.write_text(suite.read_text() + "  data.resolution: 16\nspeed: none\n")
    return Forked(mixbench)


def test_a_run_that_fails_takes_no_other_run_with_it_and_is_named(forked):
    bad = [name for name in WAYS if name != "hangs"]
    all_of_them = ["--set", f"methods=[{','.join(['erm', *bad, 'mixup'])}]"]
    ((code, printed), (hung, timeout)) = forked(
        ([*SWEEP, *all_of_them], 0), ([*SWEEP, "--set", "methods=[hangs]", "--run-timeout", "2"], 0)
    )
    assert code == 3, printed
    assert "6 run(s) missing" in printed
    missing = printed[printed.index("run(s) missing") :]
    ends = forked.records()
    expected = {
        "erm": ("ok", None),
        "mixup": ("ok", None),
        "device-memory": ("oom", "CUDA out of memory. Tried to allocate 2.00 GiB"),
        "host-memory": ("oom", "the host has no memory left"),
        "fault": ("error", "RuntimeError: a fault of the method"),
        "killed": ("error", "its worker process was killed by signal 9"),
        "folder": ("error", "RuntimeError: its folder is gone"),
        "diverges": ("diverged", "the training loss is not finite in epoch 1, by step 3"),
    }
    for method, (status, reason) in expected.items():
        ((found, why),) = ends[method]
        assert found == status, method
        assert reason is None or str(why).startswith(reason), why
        assert status == "ok" or f"{method} seed 0 (digits, test_resnet, tiny): {status}, {reason}" in missing
    assert hung == 3, timeout
    assert "hangs seed 0 (digits, test_resnet, tiny): timeout, took longer than 2 s" in timeout
    assert ends["hangs"][0][0] == "timeout"


def accuracies(folder: Path, results: str) -> list[dict[str, str]]:
    with (folder / results / "tables" / "tiny" / "accuracy.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("most_bytes", [1000, 400_000])
def test_a_full_disk_ends_the_sweep_in_one_line_and_costs_nothing_that_is_finished(forked, most_bytes):
    """The limit strikes records and logs too, or the weights alone."""
    methods = ["--set", "methods=[erm,mixup,cutmix]"]
    ((code, printed), *_) = forked(([*SWEEP, *methods], most_bytes))
    assert code == 3, printed
    (line,) = [line for line in printed.splitlines() if line.startswith("mixbench:")]
    assert "File too large" in line
    assert "what is finished is kept: make room and give the same command again" in line
    assert "Traceback" not in printed
    finished = [method for method, ends in forked.records().items() if ("ok", None) in ends]
    assert finished
    assert len(finished) < 3
    before = forked.finished()
    for path in forked.folder.glob("printed-*"):
        path.unlink()
    results = ["--results", "other"]
    ((again, printed), (whole, _)) = forked(([*SWEEP, *methods], 0), ([*SWEEP, *methods, *results], 0))
    assert (again, whole) == (0, 0), printed
    assert "3 runs, 0 of them done already" not in printed
    after = forked.finished()
    assert {path: after[path] for path in before} == before
    ends = forked.records()
    assert all(ends[method].count(("ok", None)) == 1 for method in ("erm", "mixup", "cutmix"))
    assert accuracies(forked.folder, "results/local") == accuracies(forked.folder, "other")


def test_the_fault_study_in_short(tmp_path):
    """Four kill -9 at random moments of sweeps of quick runs; tools/fault_study.py has the whole study."""
    command = [sys.executable, "-m", "tools.fault_study", "quick", "--kills", "4", "--seed", "5"]
    command += ["--work", str(tmp_path), "-o", str(tmp_path / "figures.json")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())["figures"]
    assert sum(figures["deaths"].values()) == 4
    assert figures["problems"] == []
    assert figures["runs_finished"] == 6 * figures["rounds"] > 0
