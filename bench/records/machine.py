"""Which machine this is, and whether a process of it still runs; told without comparing clocks or host names."""

from __future__ import annotations

import functools
import secrets
from pathlib import Path

_PROC = Path("/proc")


@functools.cache
def machine_id() -> str:
    """Of this boot and this space of process numbers; where the system does not tell, never that of anybody else."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return secrets.token_hex(16)


def process_start(process: int) -> str:
    """When a process of this machine began, in the system's ticks; "" for one that is gone or only waits to be reaped.

    Together with its number it names a process for good, since numbers are used again.
    """
    try:
        fields = (_PROC / str(process) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, UnicodeDecodeError):
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]


def runs_here(process: int, started: str) -> bool:
    """Whether the process with this number and start still runs on this machine."""
    return started != "" and process_start(process) == started
