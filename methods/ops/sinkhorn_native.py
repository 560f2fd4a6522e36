"""The block of scaling iterations in C for CPUs: sixteen problems side by side, compiled once a machine."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from torch import Tensor

log = logging.getLogger("mixbench.sinkhorn")

LANES = 16
FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-shared")
COMPILE_SECONDS = 60
SOURCE = """
typedef float lanes __attribute__((vector_size(64), aligned(4)));

/* kernel: groups x n x m, rows: groups x n, columns: groups x m, all of 16 lanes; sums: m of them, scratch. */
void scale(const lanes *kernel, lanes *rows, lanes *columns, lanes *sums, long groups, long n, long m, long iterations)
{
    for (long g = 0; g < groups; ++g, kernel += n * m, rows += n, columns += m) {
        for (long j = 0; j < m; ++j)
            sums[j] = (lanes){0} + 1.0f;
        for (long t = 0; t < iterations; ++t) {
            for (long j = 0; j < m; ++j) {
                columns[j] = 1.0f / sums[j];
                sums[j] = (lanes){0};
            }
            for (long i = 0; i < n; ++i) {
                const lanes *row = kernel + i * m;
                lanes part[4] = {{0}, {0}, {0}, {0}};
                long j = 0;
                for (; j + 4 <= m; j += 4)
                    for (int k = 0; k < 4; ++k)
                        part[k] += row[j + k] * columns[j + k];
                for (; j < m; ++j)
                    part[0] += row[j] * columns[j];
                rows[i] = (part[0] + part[1]) + (part[2] + part[3]);
                const lanes share = 1.0f / rows[i];
                for (j = 0; j < m; ++j)
                    sums[j] += row[j] * share;
            }
        }
        for (long j = 0; j < m; ++j)
            columns[j] = sums[j];
    }
}
"""


def native_block(kernel: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """A block in C, for contiguous float32 kernels (G, n, m, 16) on the CPU. RuntimeError where it cannot be built."""
    scale = _function()
    if scale is None:
        raise RuntimeError("the native Sinkhorn needs a C compiler ($CC, cc, gcc or clang) and a writable cache folder")
    groups, n, m, _ = kernel.shape
    rows, columns = kernel.new_empty(groups, n, 1, LANES), kernel.new_empty(groups, 1, m, LANES)
    sums = kernel.new_empty(m, LANES)
    addresses = [tensor.data_ptr() for tensor in (kernel, rows, columns, sums)]
    scale(*addresses, groups, n, m, iterations)
    return rows, columns


def native_is_available() -> bool:
    """Whether the C code could be compiled, now or before, and loaded."""
    return _function() is not None


@functools.cache
def _function() -> ctypes._NamedFuncPointer | None:
    library = _library()
    if library is None:
        return None
    function = library.scale
    function.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_long] * 4
    function.restype = None
    return function


def _library() -> ctypes.CDLL | None:
    compiler = os.environ.get("CC") or next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        log.info("no C compiler: Sinkhorn runs in plain torch")
        return None
    asked = os.environ.get("MIXBENCH_CACHE")
    try:
        folder = (Path(asked).expanduser() if asked else Path.home() / ".cache" / "mixbench") / "native"
        path = folder / f"sinkhorn-{_fingerprint(compiler)}.so"
        if not path.exists():
            _compile(compiler, path)
        return ctypes.CDLL(str(path))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        log.info("the native Sinkhorn cannot be built, so it runs in plain torch: %s", error)
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
