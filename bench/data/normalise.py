"""From pixels in [0, 255] to what the network sees."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normaliser(nn.Module):
    """(x / 255 - mean) / std per channel, in float32, as one multiplication and one addition.

    mean, std: one number a channel, on images scaled to [0, 1]. It holds no state that a checkpoint needs.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std):
            raise ValueError(f"{len(mean)} means and {len(std)} standard deviations")
        means = torch.tensor(mean, dtype=torch.float64).view(1, -1, 1, 1)
        deviations = torch.tensor(std, dtype=torch.float64).view(1, -1, 1, 1)
        self.register_buffer("scale", (1 / (255 * deviations)).float(), persistent=False)
        self.register_buffer("shift", (-means / deviations).float(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """images (B, C, H, W), uint8 or floating, in [0, 255]; returns float32 of the same shape, differentiable."""
        return torch.addcmul(self.shift, images.to(torch.float32), self.scale)
