"""Linear filters along one axis as small matrices, read off SciPy by filtering the identity."""

from __future__ import annotations

import functools

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor


@functools.lru_cache(maxsize=256)
def _gaussian(size: int, sigma: float, mode: str, truncate: float) -> np.ndarray:
    return ndimage.gaussian_filter1d(np.eye(size), sigma, axis=0, mode=mode, truncate=truncate)


def gaussian_operator(
    size: int, sigma: float, device: torch.device, mode: str = "nearest", truncate: float = 4.0
) -> Tensor:
    """Gaussian smoothing of `size` samples as a matrix (size, size) float32; mode is SciPy's name of the border rule."""
    return torch.as_tensor(_gaussian(size, sigma, mode, truncate), dtype=torch.float32, device=device)


def apply_separable(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows (h, H) along the height and columns (w, W) along the width of images (..., H, W): (..., h, w)."""
    return rows @ images @ columns.T
