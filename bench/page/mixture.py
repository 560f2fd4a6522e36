"""What a method makes of a few test images, with the labels that it gives them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from bench.backbones.adapter import TimmBackbone
from bench.data.normalise import Normaliser
from bench.data.open import Splits
from bench.evals.forward import evaluation_mode
from bench.evals.intrusion import PROGRESS, mixed_mask
from bench.evals.mixed_labels import Step, labelled_step
from methods.api import BatchShape, Draws, Method
from methods.ops.keys import Key

SEED = 20260104
_TRIES = 8
"""Steps of one branch, of which some may mix nothing."""
_DRAWS = 32
"""Draws, to meet each branch at least once: one of four equally likely ones is missed once in ten thousand times."""


class Mixture(NamedTuple):
    """images: (B, C, H, W) uint8 as the network gets them. targets: (B, K) label weights, rows sum to 1. draws: the
    step's."""

    images: Tensor
    targets: Tensor
    draws: Draws


def chosen_images(splits: Splits, different: int, batch: int) -> tuple[Tensor, Tensor]:
    """`batch` test images (uint8, CPU) with labels, the first `different` of different classes where there are as
    many; the same every time."""
    feed = splits.evaluation["test"]
    labels = feed.labels.cpu()
    order = Key(SEED, "images").generator().permutation(len(labels)).tolist()
    firsts: dict[int, int] = {}
    for position in order:
        firsts.setdefault(int(labels[position]), position)
    chosen = list(firsts.values())[:different]
    taken = set(chosen)
    chosen += [position for position in order if position not in taken][: batch - len(chosen)]
    wanted = {position: place for place, position in enumerate(chosen)}
    found: dict[int, Tensor] = {}
    begin = 0
    for images, _ in feed.batches(256):
        for position in range(begin, begin + len(images)):
            if position in wanted:
                found[wanted[position]] = images[position - begin].cpu()
        begin += len(images)
        if len(found) == len(chosen):
            break
    return torch.stack([found[place] for place in range(len(chosen))]), labels[torch.tensor(chosen)]


def mixtures(
    backbone: TimmBackbone, method: Method, images: Tensor, labels: Tensor, normalise: Normaliser
) -> list[Mixture]:
    """For each branch of the method's draws that mixes in pixel space the first step out of a few in which it does.

    images uint8 (B, C, H, W), labels (B,). All methods have the same keys and the same partners (`partners`). The
    network is in evaluation mode.
    """
    pairs = partners(len(images)).to(images.device)
    clean = normalise(images)
    device = images.device
    found: dict[str, Mixture] = {}
    tried: Counter[str] = Counter()
    with evaluation_mode(backbone, device), evaluation_mode(method, device):
        for attempt in range(_DRAWS):
            key = Key(SEED, "gallery", attempt)
            branch = method.draw(key, BatchShape(*images.shape, progress=PROGRESS)).branch
            if branch in found or tried[branch] == _TRIES:
                continue
            tried[branch] += 1
            step = labelled_step(backbone, method, images, labels, normalise, key, PROGRESS, permutation=pairs)
            if (made := _mixed(step, clean, normalise)) is not None:
                found[branch] = made
    return list(found.values())


def partners(batch: int) -> Tensor:
    """The position of each image's partner (B,) int64: the next image, the first being the last one's."""
    return torch.arange(batch).roll(-1)


def label_words(target: Tensor, names: Sequence[str], least: float = 0.005) -> str:
    """The label weights (K,) of one image, largest first: "cat 62 %, dog 38 %"."""
    order = sorted((-float(weight), place) for place, weight in enumerate(target))
    return ", ".join(f"{names[place]} {-weight:.0%}".replace("%", " %") for weight, place in order if -weight >= least)


def to_pixels(images: Tensor, normalise: Normaliser) -> Tensor:
    """Normalised images back to uint8."""
    return ((images - normalise.shift) / normalise.scale).round().clamp(0, 255).to(torch.uint8)


def _mixed(step: Step, clean: Tensor, normalise: Normaliser) -> Mixture | None:
    for seen in step.passes:
        if seen.edited or seen.images.shape[1:] != clean.shape[1:] or len(seen.images) % len(clean):
            continue
        weights = seen.targets().split(len(clean))
        for images, targets in zip(seen.images.split(len(clean)), weights, strict=True):
            if mixed_mask(images, clean, step.draws).any():
                return Mixture(to_pixels(images, normalise), targets, step.draws)
    return None
