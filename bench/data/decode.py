"""From image files to uint8 arrays of one size, by Pillow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
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
    with reasons(), opened() as image:
        image.load()
        return _converted(image, MODES[channels])


@contextlib.contextmanager
def reasons() -> Iterator[None]:
    """Turn what Pillow raises over a bad file into an UnreadableImage."""
    try:
        yield
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

    Lengths are those of `fitted`. An image whose shorter side is right already is not resampled.
    """
    width, height, left, top = fitted(image.width, image.height, shorter_side, size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    if image.size == (size, size):
        return image
    return image.crop((left, top, left + size, top + size))


def fitted(width: int, height: int, shorter_side: int, size: int) -> tuple[int, int, int, int]:
    """Width and height after the shorter side was resized, then the left and top of the central size x size.

    The longer side becomes int(shorter_side * longer / shorter) and the crop starts at round((length - size) / 2), as
    in torchvision. shorter_side >= size.
    """
    if width <= height:
        width, height = shorter_side, int(shorter_side * height / width)
    else:
        width, height = int(shorter_side * width / height), shorter_side
    return width, height, round((width - size) / 2), round((height - size) / 2)


def to_array(image: Image.Image) -> np.ndarray:
    """uint8 (C, H, W) of an image of mode L or RGB."""
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
