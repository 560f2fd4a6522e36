"""torchvision's JPEG decoders, on CPUs and on CUDA devices."""

from __future__ import annotations

import io
import warnings

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.errors import BadInput


def decode_jpegs(files: list[Tensor], mode: str, device: torch.device | str) -> list[Tensor]:
    """uint8 images (C, H, W) on the device from files, uint8 (bytes,) on the CPU; mode "GRAY" or "RGB".

    RuntimeError where one of them cannot be decoded. nvJPEG works on a CUDA device.
    """
    from torchvision.io import ImageReadMode, decode_jpeg

    with warnings.catch_warnings():
        # torchvision 0.29 announces that its decoders will move to another package.
        warnings.simplefilter("ignore", DeprecationWarning)
        return list(decode_jpeg(files, ImageReadMode[mode], device))


def check_decoder(decoder: str, device: torch.device) -> None:
    """BadInput where `data.decoder` cannot work with this device or this torchvision; it is tried on a small image."""
    if decoder == "pil":
        return
    if decoder == "nvjpeg" and device.type != "cuda":
        raise BadInput(f"data.decoder nvjpeg: needs a CUDA device, this run is on {device}; use torchvision or pil")
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "jpeg")
    place = device if decoder == "nvjpeg" else "cpu"
    try:
        decode_jpegs([torch.from_numpy(np.frombuffer(file.getvalue(), dtype=np.uint8).copy())], "RGB", place)
    except (ImportError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise BadInput(f"data.decoder {decoder}: this torchvision cannot do it ({reason}); use pil") from None
