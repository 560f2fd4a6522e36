"""Energy of training steps by the GPU's own counter, where NVIDIA's management library (nvidia-ml-py) is installed."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

import torch

WINDOW_SECONDS = 10.0
"""Shortest measurement: the counter is updated a few times a second only."""


def joules_counter(device: torch.device) -> Callable[[], float] | None:
    """A function that reads the GPU's energy counter in joules; None where nothing offers one (any CPU among them)."""
    if device.type != "cuda":
        return None
    try:
        library: Any = importlib.import_module("pynvml")
        library.nvmlInit()
        identity = str(torch.cuda.get_device_properties(device).uuid)
        name = identity if identity.startswith(("GPU-", "MIG-")) else f"GPU-{identity}"
        handle = library.nvmlDeviceGetHandleByUUID(name)
        library.nvmlDeviceGetTotalEnergyConsumption(handle)
    except Exception:  # no library, no driver, an old GPU or torch: each is a reason not to measure
        return None
    return lambda: library.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000


def joules_per_image(
    counter: Callable[[], float], round_: Callable[[], int], clock: Callable[[], float] = time.monotonic
) -> float:
    """Joules of the whole GPU, its idle power included, by image. round_ trains a while, waits for the device and
    says how many images; it is repeated for WINDOW_SECONDS at least."""
    images = 0
    started, joules = clock(), counter()
    while clock() - started < WINDOW_SECONDS:
        images += round_()
    return (counter() - joules) / images
