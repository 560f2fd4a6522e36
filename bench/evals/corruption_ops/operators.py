"""Linear filters along one axis as small float64 matrices, read off SciPy by filtering the identity.

float64, so that neither a GPU's reduced-precision products nor the order of summation, which depends on the batch size,
can reach the eighth bit.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor


@functools.lru_cache(maxsize=256)
def _gaussian(size: int, sigma: float, mode: str, truncate: float) -> np.ndarray:
    return ndimage.gaussian_filter1d(np.eye(size), sigma, axis=0, mode=mode, truncate=truncate)


@functools.lru_cache(maxsize=64)
def gaussian_taps(sigma: float, truncate: float = 4.0) -> tuple[float, ...]:
    """SciPy's weights of a Gaussian, from the middle outwards."""
    reach = int(truncate * sigma + 0.5)
    impulse = np.zeros(2 * reach + 1)
    impulse[reach] = 1
    return tuple(ndimage.gaussian_filter1d(impulse, sigma, mode="constant", truncate=truncate)[reach:].tolist())


def gaussian_operator(
    size: int, sigma: float, device: torch.device, mode: str = "nearest", truncate: float = 4.0
) -> Tensor:
    """Gaussian smoothing of `size` samples as a matrix (size, size); mode: SciPy's name of a border rule."""
    if sigma == 0:
        return torch.eye(size, dtype=torch.float64, device=device)
    return torch.as_tensor(_gaussian(size, sigma, mode, truncate), dtype=torch.float64, device=device)


@functools.lru_cache(maxsize=256)
def _zoom(size: int, factor: float) -> np.ndarray:
    kept = math.ceil(size / factor)
    top = (size - kept) // 2
    zoomed = np.asarray(ndimage.zoom(np.eye(kept), (factor, 1), order=1))
    trim = (len(zoomed) - size) // 2
    operator = np.zeros((size, size))
    operator[:, top : top + kept] = zoomed[trim : trim + size]
    return operator


def zoom_operator(size: int, factor: float, device: torch.device) -> Tensor:
    """Crop the middle, enlarge it linearly by `factor` and crop the middle again: a matrix (size, size)."""
    return torch.as_tensor(_zoom(size, factor), dtype=torch.float64, device=device)


@functools.lru_cache(maxsize=64)
def _box(size: int, target: int) -> np.ndarray:
    scale = size / target
    support = 0.5 * max(scale, 1.0)
    operator = np.zeros((target, size))
    for row in range(target):
        centre = (row + 0.5) * scale
        first, last = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), size)
        distance = (np.arange(first, last) - centre + 0.5) / max(scale, 1.0)
        weights = ((distance > -0.5) & (distance <= 0.5)).astype(float)
        operator[row, first:last] = weights / weights.sum()
    return operator


def box_operator(size: int, target: int, device: torch.device) -> Tensor:
    """Pillow's BOX resampling of `size` samples to `target`: a matrix (target, size)."""
    return torch.as_tensor(_box(size, target), dtype=torch.float64, device=device)


def apply_separable(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows (h, H) along the height and columns (w, W) along the width of images (..., H, W): (..., h, w)."""
    return rows @ (images @ columns.T)
