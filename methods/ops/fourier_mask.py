"""Binary masks with smooth outlines: the brightest pixels of an image made of low-frequency noise (FMix)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from methods.ops.keys import Key


def draw_spectrum(key: Key, height: int, width: int, count: int | None = None) -> Tensor:
    """Standard normal real and imaginary parts of a half spectrum, (height, width // 2 + 1, 2) float32; of `count` of
    them, if given, (count, height, width // 2 + 1, 2)."""
    shape = (*(() if count is None else (count,)), height, width // 2 + 1, 2)
    return torch.from_numpy(key.fold("spectrum").generator().standard_normal(shape, dtype=np.float32))


def low_frequency_image(spectrum: Tensor, decay: float, width: int) -> Tensor:
    """The real images (..., height, width) float32 of half spectra (..., height, width // 2 + 1, 2) after damping.

    The amplitude at frequency f, in cycles a pixel, is divided by max(f, 1 / max(height, width)) ** decay (Harris et
    al. 2020, arXiv 2002.12047, and official code).
    """
    height = spectrum.shape[-3]
    rows = torch.fft.fftfreq(height, device=spectrum.device)[:, None]
    columns = torch.fft.rfftfreq(width, device=spectrum.device)
    frequency = (rows.square() + columns.square()).sqrt().clamp(min=1 / max(height, width))
    damped = torch.view_as_complex(spectrum.float().contiguous()) * frequency.pow(-decay)
    lines = torch.view_as_real(torch.fft.ifft(damped, dim=-2))
    # Transforms differ in what they make of an imaginary part where a real image has none, so it is taken out.
    alone = torch.zeros(width // 2 + 1, 2, device=spectrum.device)
    alone[0, 1] = 1
    if width % 2 == 0:
        alone[-1, 1] = 1
    return torch.fft.irfft(torch.view_as_complex(lines * (1 - alone)), n=width, dim=-1)


def brightest(image: Tensor, count: Tensor) -> Tensor:
    """Bool masks of the shape of `image` (..., H, W), true at exactly `count` pixels, (...) int64, of the highest
    values."""
    order = image.flatten(-2).argsort(descending=True, stable=True)
    chosen = torch.arange(order.shape[-1], device=image.device) < count[..., None]
    return torch.zeros_like(chosen).scatter_(-1, order, chosen).view(image.shape)
