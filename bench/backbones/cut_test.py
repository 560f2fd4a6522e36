"""Does everything after a stage come from that stage? Only then is mixing there what it seems."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

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
    trial = _perturbed(backbone)
    order = torch.arange(len(images), device=images.device).roll(1)

    def swap(features: FeatureMap) -> FeatureMap:
        prefix = None if features.prefix is None else features.prefix[order]
        return FeatureMap(features.spatial[order], prefix)

    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        plain = trial(images)
        swapped = trial(images, {stage: swap})
    change = (plain[order] - plain).abs().max()
    missed = (plain[order] - swapped).abs().max()
    if not torch.isfinite(change) or not torch.isfinite(missed):
        return "the cut test met logits that are not finite"
    if change <= 1e-6 * plain.abs().max():
        return "the cut test cannot tell: the logits hardly depend on the image"
    share = float(missed / change)
    if share > TOLERANCE:
        return f"a path around this stage reaches the logits ({share:.0%} of a swap of the images is missed)"
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


def _perturbed(backbone: TimmBackbone) -> TimmBackbone:
    """A copy in eval mode with noise on its weights: relative to the mean size of a matrix, absolute on a vector."""
    trial = copy.deepcopy(backbone).eval()
    draws = torch.Generator().manual_seed(Key("cut test weights").integer())
    with torch.no_grad():
        for parameter in trial.parameters():
            noise = torch.randn(parameter.shape, generator=draws).to(parameter)
            absolute = parameter.ndim < 2 or not parameter.any()
            parameter.add_(PERTURBATION * noise * (1 if absolute else parameter.abs().mean()))
    return trial
