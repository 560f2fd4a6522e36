"""Runs that two processes share, through torch's launcher: a killed rank, a rank that fails, a wish to stop."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import bench
from bench.data.facts import describe
from bench.data.open import open_data
from bench.run.build import build_method
from bench.run.execute import train_run
from bench.spec import BackboneSpec, DataSpec, Labels, MethodSpec, ProtocolSpec, Spec

pytestmark = pytest.mark.timeout(860)
ROOT = Path(bench.__file__).parent.parent
CPU = torch.device("cpu")
DATA = DataSpec(source="digits", resolution=32, channels=1, mean=(0.3,), std=(0.38,), train_per_class=3)
TROUBLE = '''
"""ERM whose second rank is killed once, or runs out of memory."""
from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Ge

from methods.api import Method


class Trouble(Method):
    """Dies at a step of the second rank."""

    title = "Trouble"
    family = "input"

    def __init__(self, *, oom: Annotated[int, Ge(0)] = 0) -> None:
        super().__init__()
        self.oom = oom
        self.steps = 0

    def after_step(self, backbone, progress):
        self.steps += 1
        if os.environ.get("RANK") != "1" or self.steps < 5:
            return
        if self.oom:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        if not Path("killed").exists():
            Path("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
'''
DRIVER = """
import json, sys
from pathlib import Path
from bench.sweep.devices import limits
from bench.sweep.executors.local import LocalExecutor

tasks = json.loads(Path("tasks.json").read_text())
gpus = [{"CUDA_VISIBLE_DEVICES": str(number)} for number in range(int(sys.argv[1]))]
executor = LocalExecutor([limits(1) | gpu for gpu in gpus or [{}]], Path("logs"), 400.0)
done = {event.task["name"]: event.fields for event in executor.run(tasks) if event.kind == "done"}
print(json.dumps(done))
"""


def spec_of(implementation: str, **parameters) -> Spec:
    return Spec(
        data=DATA.model_copy(update={"digest": describe(DATA).digest}),
        backbone=BackboneSpec(name="test_resnet"),
        protocol=ProtocolSpec(epochs=3, batch_size=9, learning_rate=0.01, evaluate_every=3, world_size=2),
        method=MethodSpec(implementation=implementation, parameters=parameters),
        seed=1,
        labels=Labels(data="d", backbone="b", protocol="p", method=implementation),
    )  # fmt: skip


def task_of(name: str, spec: Spec, **changes) -> dict:
    """What the sweep hands to a worker; the state is saved after every step."""
    return {
        "task": "run", "name": name, "spec": spec.model_dump(mode="json"), "folder": f"records/{name}", "device": "cpu",
        "threads": 1, "train": True, "trial": False, "source_digest": "s", "planned": [1], "checkpoint_seconds": 0.0,
        "evals": [], "world_size": 2, "processes": 2, "restarts": 2, **changes,
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A copy of the package with one method more; two runs of it were done there."""
    folder = tmp_path_factory.mktemp("shared")
    for name in ("bench", "methods", "configs"):
        shutil.copytree(ROOT / name, folder / "copy" / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "copy" / "methods" / "trouble.py").write_text(TROUBLE)
    tasks = [task_of("killed", spec_of("trouble", oom=0)), task_of("oom", spec_of("trouble", oom=1))]
    do(folder, tasks, folder / "copy")
    return folder


def do(folder: Path, tasks: list[dict], code: Path, gpus: int = 0) -> None:
    """Have a local executor do the tasks in this folder, on so many GPUs, and keep what it says of each."""
    (folder / "tasks.json").write_text(json.dumps(tasks))
    environment = {**os.environ, "PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-c", DRIVER, str(gpus)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=800, check=False
    )
    assert done.returncode == 0, done.stderr
    (folder / "done.json").write_text(done.stdout)


def done(folder: Path, name: str) -> tuple[str, str | None]:
    fields = json.loads((folder / "done.json").read_text())[name]
    return fields["status"], fields["reason"]


def alone(spec: Spec, folder: Path) -> list[dict]:
    """The epochs of the same run in this process, on the CPU."""
    train_run(
        spec, build_method(spec.method), open_data(spec.data, CPU), folder, CPU,
        "s", [1], 60.0, lambda _: None, lambda: False,
    )  # fmt: skip
    return [line for line in lines_of(folder) if line["kind"] == "epoch"]


def lines_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def test_a_killed_rank_makes_the_group_start_again_from_the_checkpoint(folder, tmp_path):
    """kill -9 of one of two processes in the second epoch. The numbers are those of a run in one process."""
    assert (folder / "killed").exists(), "nobody was killed"
    attempt = folder / "records" / "killed"
    assert done(folder, "killed") == ("ok", None), (attempt / "log.txt").read_text()
    lines = lines_of(attempt)
    kinds = [line["kind"] for line in lines]
    assert kinds == ["begin", "epoch", "resume", "epoch", "epoch", "file", "file", "end"]
    assert [line["processes"] for line in lines if line["kind"] in ("begin", "resume")] == [2, 2]
    assert lines[kinds.index("resume")]["epoch"] == 1
    assert not (attempt / "checkpoint.pt").exists()
    assert (attempt / "predictions.npz").exists()
    epochs = alone(spec_of("erm"), tmp_path)
    for one, other in zip([line for line in lines if line["kind"] == "epoch"], epochs, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-5)
    test, expected = lines[-4]["test"], epochs[-1]["test"]
    assert test["nll"] == pytest.approx(expected["nll"], rel=1e-4)
    assert test["n"] == expected["n"]


def test_a_rank_that_fails_ends_the_run_with_its_own_words(folder):
    """The other process waits for it in an exchange; neither hangs, and nothing is tried again."""
    assert done(folder, "oom") == ("oom", "CUDA out of memory. Tried to allocate 2.00 GiB")
    assert [line["kind"] for line in lines_of(folder / "records" / "oom")] == ["begin", "epoch"]


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="NCCL wants a GPU for each process")
def test_two_gpus_share_a_run_through_nccl(tmp_path):
    """To the digits that a GPU's shortened float32 leaves: the numbers of one process on the CPU."""
    spec = spec_of("erm")
    do(tmp_path, [task_of("shared", spec, device="cuda")], ROOT, gpus=2)
    attempt = tmp_path / "records" / "shared"
    assert done(tmp_path, "shared") == ("ok", None), (attempt / "log.txt").read_text()
    lines = lines_of(attempt)
    assert [line["processes"] for line in lines if line["kind"] == "begin"] == [2]
    epochs = alone(spec, tmp_path / "alone")
    for one, other in zip([line for line in lines if line["kind"] == "epoch"], epochs, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=0.02)
    assert [line["test"]["n"] for line in lines if line.get("test")] == [epochs[-1]["test"]["n"]]
