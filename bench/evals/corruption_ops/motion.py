"""Motion blur along a line, as ImageMagick 6 does it: whole-pixel shifts, borders repeated, 8-bit result."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

QUANTUM = 0.5 / 257
"""ImageMagick rounds to 16 bits (257 steps a grey level) and then truncates to 8."""


def motion_blur_levels(levels: Tensor, radius: int, sigma: float, degrees: Tensor) -> Tensor:
    """Grey levels (B, C, H, W) float32 in [0, 255] to whole grey levels of the same shape and type.

    2 * radius + 1 taps of a one-sided Gaussian of `sigma` taps, the i-th at round(i cos), round(i sin) pixels along an
    image's own direction. degrees (B,): 0 is along the rows. Images of one shift pattern are done together, by slices.
    """
    height, width = levels.shape[2:]
    taps = np.arange(2 * radius + 1)
    weights = np.exp(-(taps**2) / (2 * sigma**2))
    weights /= weights.sum()
    patterns, group = np.unique(tap_offsets(degrees.double().cpu().numpy(), radius), axis=0, return_inverse=True)
    reach = 2 * radius
    padded = F.pad(levels, (reach, reach, reach, reach), mode="replicate")
    blurred = torch.empty_like(levels)
    for number, pattern in enumerate(patterns):
        members = torch.from_numpy(np.flatnonzero(group.reshape(-1) == number)).to(levels.device)
        chosen = padded.index_select(0, members)
        total = torch.zeros(len(members), *levels.shape[1:], device=levels.device)
        for (down, right), weight in zip(pattern.tolist(), weights.tolist(), strict=True):
            rows, columns = reach + down, reach + right
            total.add_(chosen[:, :, rows : rows + height, columns : columns + width], alpha=weight)
        blurred.index_copy_(0, members, total)
    return blurred.add_(QUANTUM).floor_()


def tap_offsets(degrees: np.ndarray, radius: int) -> np.ndarray:
    """Rows and columns that each tap looks away from its pixel: (B, 2 * radius + 1, 2) integers."""
    width = 2 * radius + 1
    angle = np.deg2rad(degrees)
    down, right = width * np.sin(angle), width * np.cos(angle)
    steps = np.arange(width) / np.hypot(down, right)[:, None]
    offsets = np.stack((steps * down[:, None], steps * right[:, None]), axis=2)
    return np.ceil(offsets - 0.5).astype(np.int64)
