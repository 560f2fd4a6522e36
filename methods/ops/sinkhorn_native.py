"""Sinkhorn in C for CPUs, compiled once a machine from `methods.ops.sinkhorn_native_source`."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import math
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from methods.ops.sinkhorn_native_source import SOURCE

log = logging.getLogger("mixbench.sinkhorn")

MOST_LANES = 16
"""Floats of the longest vector that the C code works with; rows of its matrices are padded to whole vectors."""
FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-shared")
COMPILE_SECONDS = 60


def native_plan(cost: Tensor, epsilon: float, iterations: int) -> Tensor:
    """`iterations` Sinkhorn iterations of cost (B, n, m) float32 on the CPU; the result as in
    `methods.ops.sinkhorn.sinkhorn`, and of each problem alone. RuntimeError where the C code cannot be built.
    """
    solve = _function()
    if solve is None:
        raise RuntimeError("the native Sinkhorn needs a C compiler ($CC, cc, gcc or clang) and a writable cache folder")
    count, n, m = cost.shape
    cost, plan = cost.contiguous(), torch.empty_like(cost, memory_format=torch.contiguous_format)
    rows, columns = (-(-size // MOST_LANES) * MOST_LANES for size in (n, m))
    work = cost.new_empty(2 * (n * columns + m * rows) + 3 * (rows + columns))
    addresses = [tensor.data_ptr() for tensor in (cost, plan, work)]
    solve(*addresses, count, n, m, iterations, math.log2(math.e) / epsilon, max(1.0, math.log2(n * m)))
    return plan


def native_is_available() -> bool:
    """Whether the C code could be compiled, now or before, and loaded."""
    return _function() is not None


@functools.cache
def _function() -> ctypes._NamedFuncPointer | None:
    library = _library()
    if library is None:
        return None
    function = library.sinkhorn
    function.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_long] * 4 + [ctypes.c_float] * 2
    function.restype = None
    return function


def _library() -> ctypes.CDLL | None:
    compiler = os.environ.get("CC") or next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        log.warning("Sinkhorn runs in plain torch, several times slower: no C compiler ($CC, cc, gcc or clang) is here")
        return None
    asked = os.environ.get("MIXBENCH_CACHE")
    try:
        folder = (Path(asked).expanduser() if asked else Path.home() / ".cache" / "mixbench") / "native"
        path = folder / f"sinkhorn-{_fingerprint(compiler)}.so"
        if not path.exists():
            _compile(compiler, path)
        return ctypes.CDLL(str(path))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        log.warning("Sinkhorn runs in plain torch, several times slower: its C code cannot be built: %s", error)
        return None


def _compile(compiler: str, path: Path) -> None:
    """Under a temporary name and then renamed, since other processes may do the same at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        source, built = Path(folder) / "sinkhorn.c", Path(folder) / "sinkhorn.so"
        source.write_text(SOURCE)
        command = [*compiler.split(), *FLAGS, *_machine_flags(), str(source), "-o", str(built)]
        subprocess.run(command, check=True, capture_output=True, timeout=COMPILE_SECONDS)
        built.replace(path)


def _machine_flags() -> list[str]:
    return ["-march=native"] if _cpu_features() else []


def _fingerprint(compiler: str) -> str:
    """Of all that the file depends on: a home folder may be shared by machines with other instructions."""
    parts = (SOURCE, *FLAGS, compiler, platform.system(), platform.machine(), _cpu_features())
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()


def _cpu_features() -> str:
    """The instruction sets that Linux lists for the CPU, else nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
