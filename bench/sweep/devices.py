"""How many workers, and what each of them sees of the machine. Asks the driver, not torch."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BadInput
from bench.run.memory_share import MEMORY_FRACTION

SHARED_MEMORY = 0.94
"""Part of a GPU's memory that the allocators of the processes that share it may have; their contexts need the rest."""


@dataclass(frozen=True)
class Workers:
    """environments: one a worker. device: what each worker calls its device. threads: CPU threads a worker.

    kind: "cuda" or "cpu", as far as that can be told without torch.
    """

    environments: list[dict[str, str]]
    device: str
    threads: int
    kind: str
    sharing: str = ""
    """What is to be said where several workers share a GPU."""


def plan_workers(device: str, workers: int | None, threads: int | None) -> Workers:
    """One worker a GPU where there are any (device "auto" or "cuda"); else one worker a core.

    On a CPU each worker has one thread unless told otherwise: the number of threads changes the order of sums and so
    the last digits of results, which therefore must not hang on how many workers there happen to be. Workers above
    the number of GPUs share them, each with its part of the memory. A given "cuda:N" is the only GPU that the workers
    see.
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
        names = [gpus[index % len(gpus)] for index in range(count)]
        environments = [
            {"CUDA_VISIBLE_DEVICES": name, **limits(each), **_share(on_it)}
            for name in names
            for on_it in [names.count(name)]
        ]
        return Workers(environments, "auto" if device == "auto" else "cuda", each, "cuda", _sharing(names))
    on_gpu = device.startswith("cuda")
    count = workers or (1 if on_gpu else max(1, cores // (threads or 1)))
    each = threads or (max(1, cores // count) if on_gpu else 1)
    return Workers([limits(each)] * count, device, each, "cuda" if on_gpu else "cpu")


def shared_by(environments: list[dict[str, str]], processes: int) -> list[dict[str, str]]:
    """The environments of workers whose runs are shared by so many processes each: as many GPUs are joined to one.

    On a CPU processes count as workers; there is always room for one run. BadInput where there are fewer GPUs.
    """
    if processes == 1:
        return environments
    count = max(1, len(environments) // processes)
    gpus = list(dict.fromkeys(one["CUDA_VISIBLE_DEVICES"] for one in environments if "CUDA_VISIBLE_DEVICES" in one))
    if not gpus:
        return environments[:count]
    if len(gpus) < processes:
        raise BadInput(
            f"protocol.world_size: {processes} processes need a GPU each, and there are {len(gpus)}; "
            f"--executor-set processes={len(gpus)} lets each take several ranks in turn"
        )
    plain = {name: value for name, value in environments[0].items() if name != MEMORY_FRACTION}
    joined = [",".join(gpus[first : first + processes]) for first in range(0, len(gpus), processes)]
    return [{**plain, "CUDA_VISIBLE_DEVICES": names} for names in joined if names.count(",") == processes - 1]


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


def limits(threads: int) -> dict[str, str]:
    """Environment of a worker with this many CPU threads."""
    # cuBLAS is deterministic only with this setting, and it must stand before CUDA starts
    return {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }


def mps_runs() -> bool:
    """Whether NVIDIA's Multi-Process Service, which lets processes share a GPU at the same moment, was started."""
    folder = os.environ.get("CUDA_MPS_PIPE_DIRECTORY") or Path(tempfile.gettempdir()) / "nvidia-mps"
    return (Path(folder) / "control").exists()


def _share(processes: int) -> dict[str, str]:
    return {MEMORY_FRACTION: f"{SHARED_MEMORY / processes:.4f}"} if processes > 1 else {}


def _sharing(names: list[str]) -> str:
    most = max(Counter(names).values())
    if most == 1:
        return ""
    mps = "through MPS" if mps_runs() else "in turns (MPS is not running here)"
    return f"up to {most} workers share a GPU {mps}, with at most {100 * SHARED_MEMORY / most:.0f} % of its memory each"
