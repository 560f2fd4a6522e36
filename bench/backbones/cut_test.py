"""Does everything after a stage come from that stage? Only then is mixing there what it seems."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from methods.api import FeatureMap
from methods.ops.keys import Key

if TYPE_CHECKING:
    from bench.backbones.adapter import TimmBackbone

TOLERANCE = 1e-2
"""Largest share of a true permutation's change of the logits that an edit at the stage may miss."""
PERTURBATION = 0.1
"""Noise put on a copy's weights, so that paths which start at weight zero (layer scale, residual ends) show too."""


def cut_test(backbone: TimmBackbone, stage: int, images: Tensor) -> str | None:
    """Why mixing at a stage is by-passed by a skip path, in one clause, or None where the stage cuts the network.

    In eval mode an edit that only swaps the images' features (a mix with lambda = 0) must give the swapped logits.
    images: (B, C, H, W) normalised float, B > 1, all different, on the backbone's device. Works on a copy of the
    backbone and touches neither it nor any random state. Raises StageRefused where the stage cannot be edited.
    """
    return cut_tests(backbone, [stage], images)[stage]


def cut_tests(backbone: TimmBackbone, stages: Sequence[int], images: Tensor) -> dict[int, str | None]:
    """`cut_test` of several stages for little more than the price of one."""
    trial = _prepared(backbone, images)
    order = torch.arange(len(images), device=images.device).roll(1)

    def swap(features: FeatureMap) -> FeatureMap:
        prefix = None if features.prefix is None else features.prefix[order]
        return FeatureMap(features.spatial[order], prefix)

    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        plain = trial(images)
        return {stage: _judge(plain, trial(images, {stage: swap}), order) for stage in stages}


def _judge(plain: Tensor, swapped: Tensor, order: Tensor) -> str | None:
    change = (plain[order] - plain).abs().max()
    missed = (plain[order] - swapped).abs().max()
    if not torch.isfinite(change) or not torch.isfinite(missed):
        return "the cut test met logits that are not finite"
    if change <= 1e-6 * plain.abs().max():
        return "the cut test cannot tell: the logits hardly depend on the image"
    share = float(missed / change)
    if share > TOLERANCE:
        return f"a path around this stage reaches the logits (a swap there misses {min(share, 1):.0%} of its effect)"
    return None


def check_stages(backbone: TimmBackbone) -> dict[str, str]:
    """Run the cut test at every stage; the names of the refused ones with the reason. For the start of a run."""
    reasons = {name: backbone.mixable(index) for index, name in enumerate(backbone.stages)}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def trial_images(shape: Sequence[int], size: int = 3) -> Tensor:
    """Images (size, *shape) of noise and differing mean, float32 on the CPU, the same at every call."""
    draws = Key("cut test").generator()
    noise = draws.standard_normal((size, *shape)) + draws.standard_normal((size, shape[0], 1, 1))
    return torch.from_numpy(noise).float()


def _prepared(backbone: TimmBackbone, images: Tensor) -> TimmBackbone:
    """A copy in eval mode in which every path carries a signal.

    Its weights have noise: relative to the mean size of a matrix, absolute on a vector. BatchNorm's running statistics
    are those of the images, since with those of a fresh model some deep nets give constant logits.
    """
    trial = copy.deepcopy(backbone).eval()
    draws = torch.Generator().manual_seed(Key("cut test weights").integer())
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        for parameter in trial.parameters():
            noise = torch.randn(parameter.shape, generator=draws).to(parameter)
            absolute = sum(size > 1 for size in parameter.shape) < 2 or not parameter.any()
            parameter.add_(PERTURBATION * noise * (1 if absolute else parameter.abs().mean()))
        norms = [module for module in trial.modules() if isinstance(module, _BatchNorm)]
        for norm in norms:
            norm.momentum = 1.0
            norm.train()
        trial(images)
    return trial.eval()
