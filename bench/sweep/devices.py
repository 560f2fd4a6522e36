"""How many workers, and what each of them sees of the machine. Asks the driver, not torch."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass

from bench.errors import BadInput


@dataclass(frozen=True)
class Workers:
    """environments: one a worker. device: what each worker calls its device. threads: CPU threads a worker.

    kind: "cuda" or "cpu", as far as that can be told without torch.
    """

    environments: list[dict[str, str]]
    device: str
    threads: int
    kind: str


def plan_workers(device: str, workers: int | None, threads: int | None) -> Workers:
    """One worker a GPU where there are any (device "auto" or "cuda"); else one worker a core.

    On a CPU each worker has one thread unless told otherwise: the number of threads changes the order of sums and so
    the last digits of results, which therefore must not hang on how many workers there happen to be. workers above
    the number of GPUs share them in turns. A given "cuda:N" is the only GPU that
    the workers see.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus = visible_gpus() if device == "auto" or device.startswith("cuda") else []
    number = device.removeprefix("cuda:")
    if gpus and number.isdigit():
        if int(number) >= len(gpus):
            raise BadInput(f"--device {device}: there are {len(gpus)} GPUs, counted from 0")
        gpus = [gpus[int(number)]]
    if gpus:
        count = workers or len(gpus)
        each = threads or max(1, cores // count)
        environments = [{"CUDA_VISIBLE_DEVICES": gpus[index % len(gpus)], **_limits(each)} for index in range(count)]
        return Workers(environments, "auto" if device == "auto" else "cuda", each, "cuda")
    on_gpu = device.startswith("cuda")
    count = workers or (1 if on_gpu else max(1, cores // (threads or 1)))
    each = threads or (max(1, cores // count) if on_gpu else 1)
    return Workers([_limits(each)] * count, device, each, "cuda" if on_gpu else "cpu")


def visible_gpus() -> list[str]:
    """Indices or UUIDs of the GPUs that this process may use."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip() and name.strip() != "-1"]
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split() if done.returncode == 0 else []


def _limits(threads: int) -> dict[str, str]:
    # cuBLAS is deterministic only with this setting, and it must stand before CUDA starts
    return {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }
