"""The content of one box resampled into another box, with shapes that do not depend on the boxes."""

from __future__ import annotations

import torch
from torch import Tensor


def resized_into(images: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Box `source` of each image, bilinearly resized to the size of box `target` and placed there, (B, C, H, W).

    images: (B, C, H, W) float. source, target: (4,) int64 top, bottom, left, right in pixels, ends excluded. Corners
    are aligned: the corner pixels of one box are those of the other. Pixels outside `target` have no meaning.
    """
    rows = _resized_axis(images, 2, source[:2], target[:2])
    return _resized_axis(rows, 3, source[2:], target[2:])


def _resized_axis(images: Tensor, axis: int, source: Tensor, target: Tensor) -> Tensor:
    size = images.shape[axis]
    (first, end), (start, stop) = source.unbind(), target.unbind()
    step = (end - first - 1).float() / (stop - start - 1).clamp(min=1)
    last = (end - 1).clamp(min=0)
    place = (torch.arange(size, device=images.device) - start) * step + first
    place = torch.minimum(place.clamp(min=0), last)
    low = place.floor().long()
    high = torch.minimum(low + 1, last)
    weight = (place - low).view(-1, *[1] * (3 - axis))
    return (1 - weight) * images.index_select(axis, low) + weight * images.index_select(axis, high)
