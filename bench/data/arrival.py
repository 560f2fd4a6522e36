"""What becomes of a training batch when it arrives from a worker process: copied, augmented or decoded as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import PIL
import torch
from torch import Tensor

from bench.data.device_batch import DeviceBatch, augmented
from bench.data.jpeg import check_decoder
from bench.data.nvjpeg import NvjpegImages
from bench.data.resize import equals_pillow
from bench.errors import BadInput
from bench.spec import DataSpec


def arrival(data: DataSpec, device: torch.device) -> Callable[[Any], Tensor]:
    """From what a worker sends to uint8 images (B, C, resolution, resolution) on the device.

    BadInput where the settings need what this machine does not have.
    """
    check_decoder(data.decoder, device)
    if data.augment_on == "workers":
        return copying(device)
    if not equals_pillow():
        why = f"Pillow {PIL.__version__} resizes otherwise than the device would"
        raise BadInput(f"data.augment_on device: {why}; use augment_on: workers")
    return NvjpegImages(data, device) if data.decoder == "nvjpeg" else _augmenting(data, device)


def copying(device: torch.device) -> Callable[[Tensor], Tensor]:
    """Images that are ready."""
    return lambda images: images.to(device, non_blocking=True)


def _augmenting(data: DataSpec, device: torch.device) -> Callable[[DeviceBatch], Tensor]:
    def augment(batch: DeviceBatch) -> Tensor:
        batch = batch.moved(lambda values: values.to(device, non_blocking=True))
        return augmented(batch.pixels, batch.plan, batch.shifts, data)

    return augment
