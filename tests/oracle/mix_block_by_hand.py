"""Mix blocks written out by hand, one image and position after another, for AutoMix and SAMix."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from methods.ops.mix_block import AutoMixBlock, SAMixBlock


def convolved(convolution: nn.Conv2d, column: list[float]) -> list[float]:
    weight = convolution.weight[:, :, 0, 0].tolist()
    bias = [0.0] * len(weight) if convolution.bias is None else convolution.bias.tolist()
    return [sum(w * x for w, x in zip(row, column, strict=True)) + b for row, b in zip(weight, bias, strict=True)]


def values_by_hand(block: SAMixBlock, second: Tensor) -> list[list[list[float]]]:
    """SAMix's values of all images and positions; batch norm needs them all."""
    first_layer, norm, _, last_layer = block.value
    hidden = [[convolved(first_layer, column) for column in image.flatten(1).T.tolist()] for image in second]  # type: ignore[arg-type]
    for channel in range(len(hidden[0][0])):
        seen = [column[channel] for image in hidden for column in image]
        mean = sum(seen) / len(seen)
        deviation = math.sqrt(sum((x - mean) ** 2 for x in seen) / len(seen) + norm.eps)  # type: ignore[operator]
        for image in hidden:
            for column in image:
                x = (column[channel] - mean) / deviation * norm.weight[channel].item() + norm.bias[channel].item()  # type: ignore[index]
                column[channel] = x if x > 0 else math.exp(x) - 1
    return [[convolved(last_layer, column) for column in image] for image in hidden]  # type: ignore[arg-type]


def logits_by_hand(block: nn.Module, first: Tensor, second: Tensor, lam: float) -> Tensor:
    """Mask logits (B, 1, h, w), one position after another."""
    size, _, height, width = first.shape
    maps = [[image.flatten(1).T.tolist() for image in side] for side in (first, second)]
    if isinstance(block, SAMixBlock):
        k = 1 + block.steepness
        s = (4 * lam**3 / 3 - 2 * lam**2 + k * lam) / (k - 2 / 3)
        maps = [[[[f * x for x in c] for c in image] for image in side] for f, side in zip((1 + s, 1 + (1 - s)), maps, strict=True)]  # fmt: skip
        values = values_by_hand(block, torch.tensor(maps[1]).mT.reshape(first.shape))
        maps = [[[a + b for a, b in zip(*pair, strict=True)] for pair in zip(*maps, strict=True)]] * 2
        key = block.key
    else:
        assert isinstance(block, AutoMixBlock)
        if block.embed_lam:
            maps = [[[[*c, lam if side == 0 else 1 - lam] for c in image] for image in maps[side]] for side in (0, 1)]
        values = [[convolved(block.value, column) for column in image] for image in maps[1]]
        key = block.query
    rows = []
    for image in range(size):
        keys = [convolved(key, column) for column in maps[1][image]]
        for column in maps[0][image]:
            query = convolved(block.query, column)
            scores = [math.exp(sum(a * b for a, b in zip(query, k, strict=True)) / math.sqrt(len(query))) for k in keys]
            rows.append(sum(e * v[0] for e, v in zip(scores, values[image], strict=True)) / sum(scores))
    return torch.tensor(rows).reshape(size, 1, height, width)


def check_block(block: nn.Module, channels: int = 6) -> None:
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(0, 0.6, generator=generator)
    first, second = torch.randn(2, 3, channels, 2, 3, generator=generator)
    actual = block(first, second, torch.tensor(0.3))
    assert actual.std() > 0.05
    torch.testing.assert_close(actual, logits_by_hand(block, first, second, 0.3), rtol=1e-3, atol=1e-4)
