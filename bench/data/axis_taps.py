"""Which pixels of a row or column make up each pixel of a resized one, and with what weights. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PRECISION = 22
"""Binary places of a weight: Pillow resizes 8-bit images with whole numbers, and so does what uses these weights."""


@dataclass(frozen=True)
class AxisTaps:
    """first: (N, count) int64, the first pixel read. weights: (K, N, count) int32, units of 2**-PRECISION, of the K
    pixels from the first one on; zero where fewer are read, and there `first` + k may lie outside the image."""

    first: np.ndarray
    weights: np.ndarray


def axis_taps(lengths: np.ndarray, targets: np.ndarray, starts: np.ndarray, count: int) -> AxisTaps:
    """One axis of N images resized from `lengths` to `targets`; of the result `count` pixels from `starts` on.

    lengths, targets, starts: (N,) int64. The weights are those of Pillow's bilinear filter, a triangle as wide as two
    pixels of the coarser side, normalised over the pixels inside the image and rounded to whole units: the same to the
    last bit, so that a resize by them gives Pillow's pixels.
    """
    scale = (lengths / targets)[:, None]
    reach = np.maximum(scale, 1.0)
    centres = (starts[:, None] + np.arange(count) + 0.5) * scale
    first = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    end = np.minimum((centres + reach + 0.5).astype(np.int64), lengths[:, None])
    pixels = first + np.arange(int((end - first).max()))[:, None, None]
    weights = np.maximum(1.0 - np.abs((pixels - centres + 0.5) * (1.0 / reach)), 0.0)
    weights[pixels >= end] = 0.0
    # Added up one after the other, as in Pillow: in another order the last bit of a sum could differ.
    weights /= np.add.accumulate(weights, axis=0)[-1]
    return AxisTaps(first, (0.5 + weights * 2**PRECISION).astype(np.int32))
