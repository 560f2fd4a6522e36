"""Which image each block of each mixed image shows: Co-Mixup's alternation over the outputs of a part."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from methods.ops.many_labels import nearly_cheapest_labelling

HALF_BONUS = 5e-4
"""By how much a half label is cheaper than the mean of its two images."""
HALF_STEP = 0.25
"""Cost between a half label and one of its two images, as a share of the cost between two images."""
HALVES = ((0, 1), (0, 2), (1, 2))
"""Which two of an output's three most shown images each half label mixes."""
NEVER = 1e3
"""Cost of a label that may not be used; all others are about 1."""


class Rules(NamedTuple):
    """The objective's weights, per block: beta, gamma and threshold of Co-Mixup over or times the number of blocks.

    sweeps: how often all outputs are labelled. candidates: labels of one output that are compared exactly.
    """

    beta: float
    gamma: float
    threshold: float
    sweeps: int
    candidates: int


class Labels(NamedTuple):
    """Labels of one output: what each mixes, first and second (P, L) int64 with first == second for a whole image, and
    what they cost, unary (P, b, b, L)."""

    first: Tensor
    second: Tensor
    unary: Tensor


def comix_labels(cost: Tensor, real: Tensor, closeness: Tensor, start: Tensor, rules: Rules) -> Tensor:
    """The two images that each block of each output shows in halves, (P, M, b, b, 2) int64; the same twice for a whole.

    P parts of M images make M outputs each. cost: (P, M, b, b) float32, of showing a block of an image. real: (P, M)
    bool, False where a part has fewer images (and outputs). closeness: (P, M, M) float32, Co-Mixup's A. start:
    (P, M, b, b) int64, the image in each block of each output at first.

    Output after output is labelled at the least sum of cost, beta for neighbours that differ, and 2 gamma * reach for
    images of reach > threshold, where reach is closeness times the blocks that the other outputs show of each image
    now. From the second sweep on, an output may also show halves of its (up to) three most shown images. Before the
    last sweep, of outputs that show the same two or more images the earlier one pays gamma a block for the first of
    them, the later one for the second.
    """
    parts, count = real.shape
    cost = torch.where(real[:, :, None, None], cost, NEVER).movedim(1, 3)
    shown = start[..., None].expand(-1, -1, -1, -1, 2)
    blocks = torch.stack([_blocks(shown[:, place], count) for place in range(count)], 1) * real[..., None]
    places = list(shown.unbind(1))
    extra = torch.zeros(parts, count, count, device=cost.device)
    for sweep in range(rules.sweeps):
        for place in range(count):
            others = blocks.sum(1) - blocks[:, place]
            reach = (closeness * others[:, None]).sum(2)
            penalty = rules.gamma * (2 * reach * (reach > rules.threshold) + extra[:, place])
            labels = _whole(cost + penalty[:, None, None])
            if sweep > 0:
                labels = _with_halves(labels, blocks[:, place])
            places[place] = _cheapest(labels, rules)
            blocks[:, place] = _blocks(places[place], count) * real[:, place, None]
        if sweep == rules.sweeps - 2:
            extra = same_images_cost(blocks > 0)
    return torch.stack(places, 1)


def same_images_cost(used: Tensor) -> Tensor:
    """Which image each output shall avoid: 1 there and 0 elsewhere, (P, M, M) float32; used: bool of that shape."""
    several = used.sum(2) > 1
    same = (used[:, :, None] == used[:, None]).all(3) & several[:, None]
    position = torch.arange(used.shape[2], device=used.device)
    rank = used.cumsum(2) * used
    later = (same & (position[:, None] < position)).any(2)
    earlier = (same & (position[:, None] > position)).any(2)
    return (((rank == 1) & later[..., None]) | ((rank == 2) & earlier[..., None])).float()


def label_steps(first: Tensor, second: Tensor) -> Tensor:
    """Cost between labels, (P, L, L) in units of beta: 0 for the same, HALF_STEP for a half label and one of its
    images, 1 for all others. first, second: (P, L) int64, the images that each label mixes."""
    rows, columns = (first[:, :, None], second[:, :, None]), (first[:, None], second[:, None])
    same = (rows[0] == columns[0]) & (rows[1] == columns[1])
    whole = (first == second)[:, :, None]
    part = whole & ((rows[0] == columns[0]) | (rows[0] == columns[1]))
    return 1 - same.float() - (1 - HALF_STEP) * ((part | part.mT) & ~same).float()


def _blocks(shown: Tensor, count: int) -> Tensor:
    """How many blocks of each image an output (P, b, b, 2) shows: (P, count) float32."""
    images = torch.arange(count, device=shown.device)
    return (shown.flatten(1)[..., None] == images).sum(1) / 2


def _whole(unary: Tensor) -> Labels:
    images = torch.arange(unary.shape[3], device=unary.device).expand(len(unary), -1)
    return Labels(images, images, unary)


def _with_halves(labels: Labels, blocks: Tensor) -> Labels:
    """Adds halves of the output's most shown images, as far as it shows two of them at all. blocks: (P, M)."""
    pairs = [pair for pair in HALVES if pair[1] < blocks.shape[1]]
    if not pairs:
        return labels
    most = blocks.argsort(dim=1, descending=True, stable=True)
    first, second = (torch.stack([most[:, pair[side]] for pair in pairs], 1) for side in (0, 1))
    allowed = blocks.gather(1, second) > 0
    grid = (-1, *labels.unary.shape[1:3], -1)
    each = [labels.unary.gather(3, image[:, None, None].expand(grid)) for image in (first, second)]
    unary = torch.where(allowed[:, None, None], (each[0] + each[1]) / 2 - HALF_BONUS, NEVER)
    return Labels(
        torch.cat([labels.first, first], 1),
        torch.cat([labels.second, second], 1),
        torch.cat([labels.unary, unary], 3),
    )


def _cheapest(labels: Labels, rules: Rules) -> Tensor:
    """The two images in each block (P, b, b, 2) of the cheapest labelling."""
    between = rules.beta * label_steps(labels.first, labels.second)
    found = nearly_cheapest_labelling(labels.unary, between, rules.candidates)
    both = torch.stack([image.gather(1, found.flatten(1)) for image in (labels.first, labels.second)], 2)
    return both.reshape(*found.shape, 2)
