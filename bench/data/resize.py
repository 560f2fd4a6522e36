"""Resize a batch of boxes by whole numbers, on any device: Pillow's pixels to the last bit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import PIL
import torch
from PIL import Image
from torch import Tensor

from bench.data.axis_taps import PRECISION
from bench.data.resize_plan import Cut, ResizePlan, resize_plan

CPU_VALUES, DEVICE_VALUES = 2**18, 2**25
"""Values between the two passes that are worked on at once; more would leave a CPU's cache or fill a GPU's memory."""
COLUMNS_FIRST_SINCE = 13
"""The release of Pillow from which on it resizes the columns of some images before their rows."""


def resize_batch(pixels: Tensor, plan: ResizePlan) -> Tensor:
    """uint8 images (B, C, size, size) from a flat list of pixels, uint8 (P, C), on one device.

    What Pillow's bilinear `resize` makes of each box: a triangle filter, antialiased; rows, then columns, each rounded
    to uint8. All arithmetic is on whole numbers, so every device gives the same bytes. Nothing waits for the device.
    """
    limit = CPU_VALUES if pixels.device.type == "cpu" else DEVICE_VALUES
    size = plan.columns.shape[1]
    blocks = _blocks(plan.bounds, max(1, limit // (size * pixels.shape[1])))
    squares = torch.cat([_resized(pixels, plan, first, last) for first, last in blocks])
    squares = torch.where(plan.transposed[:, None, None, None], squares.transpose(1, 2), squares)
    return squares.permute(0, 3, 1, 2).contiguous()


def _blocks(bounds: tuple[int, ...], most: int) -> Iterator[tuple[int, int]]:
    """Ranges of images with at most so many rows together, but at least one image."""
    first = 0
    for last in range(1, len(bounds)):
        if last == len(bounds) - 1 or bounds[last + 1] - bounds[first] > most:
            yield first, last
            first = last


def _resized(pixels: Tensor, plan: ResizePlan, first: int, last: int) -> Tensor:
    size, channels = plan.columns.shape[1], pixels.shape[1]
    rows = slice(plan.bounds[first], plan.bounds[last])
    images = plan.row_images[rows]
    starts = plan.columns.index_select(0, images) + plan.rows[rows, None]
    narrowed = _weighted(
        pixels, starts.flatten(), (weights.index_select(0, images).flatten() for weights in plan.column_weights)
    )
    lines = (plan.lines[first:last] - plan.bounds[first]).flatten()
    squares = _weighted(
        narrowed.view(-1, size * channels), lines, (weights[first:last].flatten() for weights in plan.line_weights)
    )
    return squares.view(last - first, size, size, channels)


def _weighted(values: Tensor, starts: Tensor, weights: Iterable[Tensor]) -> Tensor:
    """(N, V) uint8: sums of values (M, V) from starts (N,) on, with weights of (N,) each.

    Weights are positive and add up to 2**PRECISION but for a few units: sums fit into 32 bits, rounded into 8.
    """
    total = torch.full((len(starts), values.shape[1]), 1 << (PRECISION - 1), dtype=torch.int32, device=values.device)
    for step, weight in enumerate(weights):
        # Taps without weight may lie beyond the last value.
        taken = values.index_select(0, (starts + step).clamp_max_(len(values) - 1))
        total.addcmul_(taken.to(torch.int32), weight[:, None])
    return total.bitwise_right_shift_(PRECISION).to(torch.uint8)


def columns_first(height: int, width: int, target_height: int, target_width: int) -> bool:
    """Whether the installed Pillow resizes the columns of such an image first, which moves some pixels by one level."""
    if int(PIL.__version__.partition(".")[0]) < COLUMNS_FIRST_SINCE:
        return False
    return height - target_height > max(0, 2 * (width - target_width))


def equals_pillow() -> bool:
    """Whether `resize_batch` gives the pixels of the installed Pillow on a few small images, one of each kind."""
    noise = np.random.default_rng(0)
    for height, width, size in ((40, 30, 16), (30, 40, 16), (9, 9, 16), (50, 17, 16), (17, 17, 17)):
        picture = noise.integers(0, 256, (height, width, 3), dtype=np.uint8)
        expected = np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR))
        exchanged = columns_first(height, width, size, size)
        stored = np.ascontiguousarray(picture.swapaxes(0, 1)) if exchanged else picture
        cut = Cut(0, stored.shape[1], height, width, size, size, 0, 0, False, exchanged)
        made = resize_batch(torch.from_numpy(stored).view(-1, 3), resize_plan([cut], size))
        if not np.array_equal(made[0].permute(1, 2, 0).numpy(), expected):
            return False
    return True
