"""Decode one training image in a worker process: by Pillow or by torchvision, whole or at a part of its size."""

from __future__ import annotations

import io

import torch
from PIL import Image

from bench.data.decode import UnreadableImage, converted
from bench.data.jpeg import decode_jpegs
from bench.data.listing import Reader
from bench.errors import BadInput
from bench.spec import DataSpec

JPEG_MODES = {"L": "GRAY", "RGB": "RGB"}
"""torchvision's name for each mode of a JPEG file that it decodes to Pillow's colours; CMYK files are none."""


def training_image(reader: Reader, place: int, data: DataSpec) -> Image.Image:
    """The image at a place, grey or RGB by `data.channels`, by `data.decoder`, JPEG files by `data.jpeg_side`.

    BadInput names an image that cannot be decoded.
    """
    try:
        return converted(lambda: _opened(reader, place, data), data.channels)
    except UnreadableImage as reason:
        raise unreadable(reader.name(place), reason) from None


def unreadable(name: str, reason: UnreadableImage) -> BadInput:
    """The line for an image that cannot be decoded."""
    return BadInput(f"unreadable image: {name} ({reason}); repair or remove it")


def _opened(reader: Reader, place: int, data: DataSpec) -> Image.Image:
    if data.decoder == "torchvision":
        encoded = reader.encoded(place)
        image = Image.open(io.BytesIO(encoded))
        return (by_torchvision(encoded, image.mode) if image.format == "JPEG" else None) or image
    image = reader.image(place)
    if data.jpeg_side is not None:
        image.draft(None, (data.jpeg_side, data.jpeg_side))  # does nothing to other formats
    return image


def by_torchvision(encoded: bytes, mode: str) -> Image.Image | None:
    """A JPEG file of Pillow's mode decoded by torchvision; None where it cannot do it, so that Pillow may try."""
    if mode not in JPEG_MODES:
        return None
    try:
        (pixels,) = decode_jpegs([torch.frombuffer(bytearray(encoded), dtype=torch.uint8)], JPEG_MODES[mode], "cpu")
    except RuntimeError:
        return None
    planes = pixels.permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(planes[:, :, 0] if mode == "L" else planes)
