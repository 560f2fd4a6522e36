"""Settings of executors, what workers see of GPUs, and the one line where an extra is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.errors import BadInput
from bench.run.memory_share import MEMORY_FRACTION
from bench.sweep.devices import SHARED_MEMORY, mps_runs, plan_workers, shared_by
from bench.sweep.executors.choose import make_executor, planned_workers
from bench.sweep.executors.local import LocalExecutor, Slot
from bench.sweep.executors.settings import LocalSettings, RaySettings, read_settings
from bench.sweep.options import Options


def test_settings_are_read_by_type():
    found = read_settings("ray", ["address=a:1", "num_gpus=0.5", "retries=7", "lease_seconds=9"])
    assert found == RaySettings(lease_seconds=9, address="a:1", num_gpus=0.5, retries=7)
    assert read_settings("local", []) == LocalSettings()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("retries", "must be KEY=VALUE"),
        ("retrys=3", "did you mean 'retries'"),
        ("retries=2.5", "whole number"),
        ("retries=-1", "whole number"),
        ("num_gpus=many", "must be a number"),
        ("lease_seconds=0", "at least 1"),
        ("lease_seconds=.nan", "must be a number from 0"),
        ("num_gpus=.inf", "must be a number from 0"),
    ],
)
def test_wrong_settings_are_refused(assignment, message):
    with pytest.raises(BadInput, match=message):
        read_settings("ray", [assignment])


def test_the_number_of_workers_belongs_to_this_machine():
    with pytest.raises(BadInput, match="--workers: belongs to --executor local"):
        planned_workers(Options(workers=2, executor=RaySettings()))
    assert planned_workers(Options("cpu", threads=3, executor=RaySettings())).environments[0]["OMP_NUM_THREADS"] == "3"


def test_a_missing_extra_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    options = Options("cpu", executor=RaySettings())
    with pytest.raises(BadInput, match=r"pip install 'mixbench\[ray\]'"):
        make_executor(options, planned_workers(options), tmp_path)
    local = Options("cpu", workers=1)
    assert isinstance(make_executor(local, planned_workers(local), tmp_path), LocalExecutor)


def test_workers_that_share_a_gpu_share_its_memory(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    alone = plan_workers("auto", None, None)
    assert [one["CUDA_VISIBLE_DEVICES"] for one in alone.environments] == ["4", "7"]
    assert not any(MEMORY_FRACTION in one for one in alone.environments)
    assert alone.sharing == ""
    shared = plan_workers("auto", 5, None)
    assert [one["CUDA_VISIBLE_DEVICES"] for one in shared.environments] == ["4", "7", "4", "7", "4"]
    for gpu, share in (("4", SHARED_MEMORY / 3), ("7", SHARED_MEMORY / 2)):
        found = [float(one[MEMORY_FRACTION]) for one in shared.environments if one["CUDA_VISIBLE_DEVICES"] == gpu]
        assert found == [pytest.approx(share, abs=1e-4)] * len(found)
        assert sum(found) < 1
    assert "up to 3 workers share a GPU" in shared.sharing


def test_a_worker_process_sees_its_own_gpu_and_no_other(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    slots = [Slot(one, tmp_path / "log.txt", None, None) for one in plan_workers("auto", 2, None).environments]
    seen: list[str] = []
    for slot in slots:
        with slot._ready_process() as worker:
            facts = Path(f"/proc/{worker.pid}/environ").read_bytes().decode().split("\0")
            seen += [fact for fact in facts if fact.startswith("CUDA_VISIBLE_DEVICES=")]
            slot.kill()
    assert seen == ["CUDA_VISIBLE_DEVICES=4", "CUDA_VISIBLE_DEVICES=7"]


def test_runs_that_processes_share_take_that_many_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7,8,9,1")
    each = plan_workers("auto", None, None).environments
    assert shared_by(each, 1) == each
    assert [one["CUDA_VISIBLE_DEVICES"] for one in shared_by(each, 2)] == ["4,7", "8,9"]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in shared_by(each, 5)] == ["4,7,8,9,1"]
    crowded = shared_by(plan_workers("auto", 10, None).environments, 2)
    assert [one["CUDA_VISIBLE_DEVICES"] for one in crowded] == ["4,7", "8,9"]
    assert not any(MEMORY_FRACTION in one for one in crowded)
    with pytest.raises(
        BadInput, match=r"protocol\.world_size: 6 processes need a GPU each, and there are 5; .*processes=5"
    ):
        shared_by(each, 6)
    cores = plan_workers("cpu", 5, None).environments
    assert (len(shared_by(cores, 2)), len(shared_by(cores, 8))) == (2, 1)


def test_mps_is_seen_by_its_control_pipe(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    assert not mps_runs()
    (tmp_path / "control").touch()
    assert mps_runs()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert "through MPS" in plan_workers("auto", 2, None).sharing
