"""Linear filters along one axis as small matrices, read off SciPy by filtering the identity.

They come in the type and on the device of the images they are for. In float32 they belong on a CPU only: a GPU may take
such products in reduced precision, whose error reaches the eighth bit.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor


def gaussian_operator(size: int, sigma: float, images: Tensor, mode: str = "nearest", truncate: float = 4.0) -> Tensor:
    """Gaussian smoothing of `size` samples as a matrix (size, size); mode: SciPy's name of a border rule."""
    return torch.from_numpy(_gaussian(size, sigma, mode, truncate)).to(images)


@functools.lru_cache(maxsize=256)
def _gaussian(size: int, sigma: float, mode: str, truncate: float) -> np.ndarray:
    if sigma == 0:
        return np.eye(size)
    return ndimage.gaussian_filter1d(np.eye(size), sigma, axis=0, mode=mode, truncate=truncate)


@functools.lru_cache(maxsize=64)
def gaussian_taps(sigma: float, truncate: float = 4.0) -> tuple[float, ...]:
    """SciPy's weights of a Gaussian, from the middle outwards."""
    reach = int(truncate * sigma + 0.5)
    impulse = np.zeros(2 * reach + 1)
    impulse[reach] = 1
    return tuple(ndimage.gaussian_filter1d(impulse, sigma, mode="constant", truncate=truncate)[reach:].tolist())


def zoom_operator(size: int, factor: float, images: Tensor) -> Tensor:
    """Crop the middle, enlarge it linearly by `factor` and crop the middle again: a matrix (size, size)."""
    return torch.from_numpy(_zoom(size, factor)).to(images)


@functools.lru_cache(maxsize=256)
def _zoom(size: int, factor: float) -> np.ndarray:
    kept = math.ceil(size / factor)
    top = (size - kept) // 2
    zoomed = np.asarray(ndimage.zoom(np.eye(kept), (factor, 1), order=1))
    trim = (len(zoomed) - size) // 2
    operator = np.zeros((size, size))
    operator[:, top : top + kept] = zoomed[trim : trim + size]
    return operator


def apply_separable(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows (h, H) along the height and columns (w, W) along the width of images (..., H, W): (..., h, w).

    One product an image and channel, so that its rounding does not depend on how many there are.
    """
    flat = images.reshape(-1, *images.shape[-2:])
    count = len(flat)
    across = torch.bmm(flat, columns.T.expand(count, -1, -1))
    down = torch.bmm(rows.expand(count, -1, -1), across)
    return down.reshape(*images.shape[:-2], len(rows), len(columns))


def box_shrink_or_grow(levels: Tensor, target: int, dim: int) -> Tensor:
    """Pillow's BOX resampling of grey levels (B, C, H, W) float32 along one axis, rounded to whole levels."""
    index, weights = _box(levels.shape[dim], target)
    shape = [1, 1, 1, 1]
    shape[dim] = target
    total = torch.zeros(1, device=levels.device)
    for places, shares in zip(index, weights, strict=True):
        taken = levels.index_select(dim, torch.from_numpy(places).to(levels.device))
        total = total + taken.mul_(torch.from_numpy(shares).to(levels).view(shape))
    return total.add_(0.5).floor_()


@functools.lru_cache(maxsize=64)
def _box(size: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Which samples each output takes and with what weights, (taps, target) each; spare taps have weight 0."""
    scale = size / target
    support = 0.5 * max(scale, 1.0)
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    for place in range(target):
        centre = (place + 0.5) * scale
        samples = np.arange(max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), size))
        distance = (samples - centre + 0.5) / max(scale, 1.0)
        weights = ((distance > -0.5) & (distance <= 0.5)).astype(float)
        rows.append((samples[weights > 0], weights[weights > 0] / weights.sum()))
    taps = max(len(samples) for samples, _ in rows)
    index, shares = np.zeros((taps, target), dtype=np.int64), np.zeros((taps, target))
    for place, (samples, weights) in enumerate(rows):
        index[: len(samples), place], shares[: len(samples), place] = samples, weights
    return index, shares
