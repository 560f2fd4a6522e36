"""What Ray is asked for and what a worker is told of its part of a GPU, with a stand-in for Ray."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from bench.run.memory_share import MEMORY_FRACTION
from bench.sweep.devices import SHARED_MEMORY
from bench.sweep.executors.choose import make_executor, planned_workers
from bench.sweep.executors.settings import RaySettings
from bench.sweep.options import Options


class Ray:
    """A cluster of one GPU that does nothing and says "ok"."""

    exceptions = SimpleNamespace(RayError=RuntimeError)

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.environments: list[dict[str, str]] = []
        self.kept: list[bool] = []

    def is_initialized(self) -> bool:
        return True

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 4.0, "GPU": 1.0}

    def remote(self, **options: Any) -> Any:
        self.options = options
        return lambda function: SimpleNamespace(remote=self._submit)

    def _submit(self, task, environment, log, timeout, mark, directory, keep) -> str:
        self.environments.append(environment)
        self.kept.append(keep)
        return task["name"]

    def wait(self, references: list[str], **_: Any) -> tuple[list[str], list[str]]:
        return references[:1], references[1:]

    def get(self, reference: str) -> dict[str, str]:
        return {"status": "ok", "reason": reference}


@pytest.mark.parametrize(
    ("device", "asked", "gpus", "share"),
    [("auto", None, 1.0, None), ("auto", 0.5, 0.5, SHARED_MEMORY / 2), ("cpu", None, 0.0, None), ("auto", 2.0, 2.0, None)],
)  # fmt: skip
def test_a_part_of_a_gpu_is_a_part_of_its_memory(monkeypatch, tmp_path, device, asked, gpus, share):
    """A worker on a GPU leaves after its task, since Ray hands the GPU to others then."""
    ray = Ray()
    monkeypatch.setitem(sys.modules, "ray", ray)
    options = Options(device, threads=3, executor=RaySettings(num_gpus=asked, retries=5))
    executor = make_executor(options, planned_workers(options), tmp_path)
    events = list(executor.run([{"name": "a"}, {"name": "b"}]))
    assert [(event.kind, event.task["name"]) for event in events] == [
        ("start", "a"), ("start", "b"), ("done", "a"), ("done", "b"),
    ]  # fmt: skip
    assert (ray.options["num_gpus"], ray.options["num_cpus"], ray.options["max_retries"]) == (gpus, 3, 5)
    for environment in ray.environments:
        told = environment.get(MEMORY_FRACTION)
        assert told is None if share is None else float(told or 0) == pytest.approx(share, abs=1e-4)
        assert environment["OMP_NUM_THREADS"] == "3"
    assert ray.kept == [gpus == 0] * 2
