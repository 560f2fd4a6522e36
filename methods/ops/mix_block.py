"""Mix blocks: small networks that turn the feature maps of two images into a mask for mixing them.

Both attend from each position of the first image to all positions of the second one and read a value there:
softmax(q k^T / sqrt(d)) v, one number a position, before upsampling and sigmoid.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

STANDARD_DEVIATION = 0.01


class AutoMixBlock(nn.Module):
    """The mix block of AutoMix (Liu et al. 2022, arXiv 2103.13027).

    forward(first, second, lam) takes maps (B, C, h, w) float32 and lam () float32, the weight of the first; it gives
    the mask logits of the second one's share (B, 1, h, w). One 1x1 convolution to max(C // 2, 1) channels makes queries
    of the first map and keys of the second one; another one makes values of the second map. embed_lam: lam is appended
    to the first map as a channel, 1 - lam to the second. Initial weights come from `generator` alone, biases are 0.
    """

    def __init__(self, channels: int, embed_lam: bool, generator: torch.Generator) -> None:
        super().__init__()
        self.embed_lam = embed_lam
        inputs = channels + int(embed_lam)
        self.query = _convolution(inputs, max(channels // 2, 1), True, generator)
        self.value = _convolution(inputs, 1, True, generator)

    def forward(self, first: Tensor, second: Tensor, lam: Tensor) -> Tensor:
        """Mask logits (B, 1, h, w)."""
        if self.embed_lam:
            first, second = _with_channel(first, lam), _with_channel(second, 1 - lam)
        return _attend(self.query(first), self.query(second), self.value(second))


class SAMixBlock(nn.Module):
    """The mix block of SAMix (Li et al. 2021, arXiv 2111.15454) as the released code has it for CIFAR.

    forward is that of `AutoMixBlock`. The first map is multiplied by 1 + s, the second by 2 - s, with s the lam that
    `rescaled_lam` gives. Queries and keys have a 1x1 convolution each, of both maps together (2C channels); values come
    from the second map by 1x1 convolution to max(C // 2, 1) channels, batch norm, ELU and 1x1 convolution, no biases.
    """

    def __init__(self, channels: int, steepness: float, generator: torch.Generator) -> None:
        super().__init__()
        self.steepness = steepness
        inner = max(channels // 2, 1)
        self.query = _convolution(2 * channels, inner, True, generator)
        self.key = _convolution(2 * channels, inner, True, generator)
        self.value = nn.Sequential(
            _convolution(channels, inner, False, generator),
            nn.BatchNorm2d(inner),
            nn.ELU(),
            _convolution(inner, 1, False, generator),
        )

    def forward(self, first: Tensor, second: Tensor, lam: Tensor) -> Tensor:
        """Mask logits (B, 1, h, w)."""
        scale = rescaled_lam(lam, self.steepness)
        first, second = first * (1 + scale), second * (2 - scale)
        both = torch.cat([first, second], 1)
        return _attend(self.query(both), self.key(both), self.value(second))


def rescaled_lam(lam: Tensor, steepness: float) -> Tensor:
    """(4/3 lam^3 - 2 lam^2 + k lam) / (k - 2/3) with k = 1 + steepness: flat around 1/2, 0 at 0 and 1 at 1."""
    k = 1 + steepness
    return (4 / 3 * lam**3 - 2 * lam**2 + k * lam) / (k - 2 / 3)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    size, channels, height, width = query.shape
    scores = query.flatten(2).transpose(1, 2) @ key.flatten(2) / math.sqrt(channels)
    return (scores.softmax(-1) @ value.flatten(2).transpose(1, 2)).reshape(size, 1, height, width)


def _with_channel(features: Tensor, value: Tensor) -> Tensor:
    size, _, height, width = features.shape
    return torch.cat([features, value.to(features.dtype).expand(size, 1, height, width)], 1)


def _convolution(inputs: int, outputs: int, bias: bool, generator: torch.Generator) -> nn.Conv2d:
    convolution = cast(nn.Conv2d, nn.utils.skip_init(nn.Conv2d, inputs, outputs, 1, bias=bias))
    nn.init.normal_(convolution.weight, std=STANDARD_DEVIATION, generator=generator)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution
