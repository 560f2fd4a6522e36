"""The part of a GPU's memory that a process may use where several share the GPU. Imports torch only when it is used."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MEMORY_FRACTION = "MIXBENCH_GPU_MEMORY_FRACTION"
"""Environment variable of a worker: the fraction, in (0, 1], of each of its GPUs' memory that it may allocate."""


def limit_memory(device: torch.device) -> None:
    """Keep torch's allocator to the fraction that the environment names; without one, or without a GPU, nothing."""
    fraction = os.environ.get(MEMORY_FRACTION)
    if fraction and device.type == "cuda":
        import torch

        # the number alone, None for the current GPU: torch refuses a device without one here, and here only
        torch.cuda.set_per_process_memory_fraction(float(fraction), device.index)
