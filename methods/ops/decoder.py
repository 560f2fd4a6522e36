"""A small convolutional decoder from a feature map back to the image."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

SMALLEST_WIDTH = 16


class Decoder(nn.Module):
    """Feature maps (B, in_channels, h, w) to images (B, C, H, W) of `output_shape` (C, H, W), of unbounded values.

    A 1x1 convolution to `width` channels, then ceil(log2(reduction)) times: nearest-neighbour upsampling to twice the
    size (at last to exactly H x W), 3x3 convolution to half the width (not below 16), group norm with one group, ReLU;
    then a 3x3 convolution to the image's channels. reduction: input pixels per feature position and side.

    The initial weights come from `generator` alone, on the CPU; no global random state is read or changed.
    """

    def __init__(
        self,
        in_channels: int,
        reduction: int,
        output_shape: tuple[int, int, int],
        width: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        channels, height, top_width = output_shape
        doublings = math.ceil(math.log2(reduction))
        layers: list[nn.Module] = [_convolution(in_channels, width, 1, generator)]
        for step in range(1, doublings + 1):
            remaining = 2 ** (doublings - step)
            narrower = max(min(width, SMALLEST_WIDTH), width // 2)
            layers += [
                nn.Upsample((math.ceil(height / remaining), math.ceil(top_width / remaining))),
                _convolution(width, narrower, 3, generator),
                nn.GroupNorm(1, narrower),
                nn.ReLU(),
            ]
            width = narrower
        layers.append(_convolution(width, channels, 3, generator))
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Decoded images (B, C, H, W)."""
        return self.layers(features)


def _convolution(in_channels: int, out_channels: int, kernel: int, generator: torch.Generator) -> nn.Conv2d:
    skipped = nn.utils.skip_init(nn.Conv2d, in_channels, out_channels, kernel, padding=kernel // 2)
    convolution = cast(nn.Conv2d, skipped)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu", generator=generator)
    nn.init.zeros_(cast(Tensor, convolution.bias))
    return convolution
