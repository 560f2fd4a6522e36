"""From uint8 images to pixels in [0, 1] and back, as the published scripts do it.

The scripts compute in float64 and truncate. Where the exact value is a whole number, the last bit decides about a grey
level: operations that meet this often are done in float64 in the scripts' order, the others get a bias.
"""

from __future__ import annotations

import torch
from torch import Tensor

BIAS = 1e-4
"""In grey levels: above float32's rounding, so that whole numbers stay whole, and far below a level."""


def to_unit(images: Tensor) -> Tensor:
    """uint8 to float32 in [0, 1]."""
    return images.to(torch.float32) * (1 / 255)


def to_unit64(images: Tensor) -> Tensor:
    """uint8 to float64 in [0, 1]."""
    return images.to(torch.float64) / 255


def to_bytes(pixels: Tensor) -> Tensor:
    """Pixels, [0, 1] after clamping, to uint8 by truncation after the bias. Writes into `pixels`."""
    return pixels.clamp_(0, 1).mul_(255).add_(BIAS).to(torch.uint8)


def truncated(pixels: Tensor) -> Tensor:
    """float64 pixels, [0, 1] after clamping, to uint8 by truncation. Writes into `pixels`."""
    return pixels.clamp_(0, 1).mul_(255).to(torch.uint8)
