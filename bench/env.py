"""Where and with what a number was made."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import bench

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow", "scikit-learn", "mixbench")


@functools.lru_cache(maxsize=1)
def code_state() -> dict[str, Any]:
    """Git commit and a digest of uncommitted changes of the checkout, or None for both outside one; lock digest."""
    root = Path(bench.__file__).resolve().parent.parent
    commit = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    changes = _git(root, "diff", "HEAD", "--", "bench", "methods", "configs") if commit else None
    lock = root / "requirements.lock"
    return {
        "git_commit": commit,
        "git_dirty": hashlib.blake2b(changes.encode(), digest_size=8).hexdigest() if changes else None,
        "lock": hashlib.blake2b(lock.read_bytes(), digest_size=8).hexdigest() if lock.is_file() else None,
    }


def package_versions() -> dict[str, str | None]:
    """Versions of the packages that decide numbers; None for what is not installed."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


@functools.lru_cache(maxsize=1)
def processor_name() -> str:
    """What the CPU is called."""
    try:
        name = model_name(Path("/proc/cpuinfo").read_text())
    except OSError:
        name = ""
    return name or platform.processor() or platform.machine()


def model_name(facts: str) -> str:
    """The model name in a text like /proc/cpuinfo; "" without one.

    Many virtual machines call generations of processors by one name ("AMD EPYC", "Intel(R) Xeon(R) CPU @ 2.20GHz").
    Their times must not be merged, so family and model number follow a name that has no number of its own.
    """
    pairs = (line.split(":", 1) for line in facts.partition("\n\n")[0].splitlines() if ":" in line)
    first = {key.strip(): value.strip() for key, value in pairs}
    name = first.get("model name", "")
    generic = name and not re.search(r"\d", name.partition("@")[0])
    if generic and "cpu family" in first and "model" in first:
        return f"{name} (family {first['cpu family']}, model {first['model']})"
    return name


def provenance(device_type: str) -> dict[str, Any]:
    """All that a record keeps about code, packages and hardware. Imports torch."""
    import torch

    facts: dict[str, Any] = {
        **code_state(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": package_versions(),
        "torch_build": torch.__version__,
        "device": device_type,
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": None,
        "gpu": None,
        "driver": None,
    }
    if device_type == "cuda":
        facts |= {"cuda": torch.version.cuda, "gpu": torch.cuda.get_device_name(), "driver": _driver()}
    return facts


def hardware(facts: dict[str, Any]) -> str:
    """One name for the machine class of a provenance: the GPU, else the CPU with its thread count."""
    return str(facts["gpu"]) if facts.get("gpu") else f"{facts['processor']}, {facts['threads']} thread(s)"


def _driver() -> str | None:
    try:
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.split("\n")[0].strip() or None
    except (OSError, subprocess.TimeoutExpired):
        return None


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
