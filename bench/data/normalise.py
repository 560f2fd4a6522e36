"""From pixels in [0, 255] to what the network sees."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

CACHED_VALUES = 2**18
"""Values that a CPU normalises at once: larger blocks leave its cache."""


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
        tracked = torch.compiler.is_compiling() or (images.requires_grad and torch.is_grad_enabled())
        if images.device.type == "cpu" and not tracked:
            return self._in_blocks(images)
        values = images if images.dtype == torch.uint8 else images.to(torch.float32)
        return torch.addcmul(self.shift, values, self.scale)

    def _in_blocks(self, images: Tensor) -> Tensor:
        # Written in place, a cached block at a time and with constants of an image's size, so that torch takes its
        # vectorised loop: three times as fast.
        size = (1, *images.shape[1:])
        shift, scale = self.shift.expand(size).contiguous(), self.scale.expand(size).contiguous()
        normalised = torch.empty_like(images, dtype=torch.float32)
        block = max(1, CACHED_VALUES // shift.numel())
        for part, values in zip(images.split(block), normalised.split(block), strict=True):
            torch.addcmul(shift, values.copy_(part), scale, out=values)
        return normalised
