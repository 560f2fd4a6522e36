"""From image files to uint8 arrays of one size, by Pillow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

MODES = {1: "L", 3: "RGB"}
"""Pillow's mode for a number of channels."""


class UnreadableImage(Exception):
    """An image cannot be decoded; the message says why, without the file's name."""


def open_image(file: Path | BinaryIO, channels: int) -> Image.Image:
    """Decode a file and convert it to grey (channels 1, Rec. 601 luma) or RGB (channels 3).

    Transparency is dropped, not blended; 16-bit grey is scaled to 8 bits; of an animation the first frame counts;
    EXIF orientation is not applied (as in torchvision and timm). UnreadableImage for anything that is no whole image,
    and for images beyond Pillow's limit against decompression bombs.
    """
    return converted(lambda: Image.open(file), channels)


def converted(opened: Callable[[], Image.Image], channels: int) -> Image.Image:
    """The same for an image that `opened` opens."""
    try:
        with opened() as image:
            image.load()
            return _converted(image, MODES[channels])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage(f"more than Pillow's limit of {Image.MAX_IMAGE_PIXELS} pixels; make it smaller") from None
    except Image.UnidentifiedImageError:
        raise UnreadableImage("not an image") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UnreadableImage(str(error) or type(error).__name__) from None


def _converted(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == mode:
        return image.copy()
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range; save it with 8 bits")
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise ValueError("pixels outside 16 bits; save it with 8 bits")
        image = Image.fromarray(((levels * 255 + 32767) // 65535).astype(np.uint8))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert(mode)


def fit(image: Image.Image, shorter_side: int, size: int) -> Image.Image:
    """Resize the shorter side (Pillow's bilinear filter, antialiased), then cut out the central size x size.

    The longer side becomes int(shorter_side * longer / shorter) and the crop starts at round((length - size) / 2), as
    in torchvision. An image whose shorter side is right already is not resampled. shorter_side >= size.
    """
    width, height = image.size
    if width <= height:
        target = (shorter_side, int(shorter_side * height / width))
    else:
        target = (int(shorter_side * width / height), shorter_side)
    if target != image.size:
        image = image.resize(target, Image.Resampling.BILINEAR)
    if image.size == (size, size):
        return image
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def to_array(image: Image.Image) -> np.ndarray:
    """uint8 (C, H, W) of an image of mode L or RGB."""
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
