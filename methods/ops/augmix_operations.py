"""AugMix's chains of operations on the device: batches of uint8 images, one draw per image and step."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from methods.ops.affine import affine_bilinear
from methods.ops.tone_curves import apply_tables, autocontrast_tables, cut, equalize_tables, histograms

CACHED_VALUES = 2**17
"""Pixel values that a CPU works on at once: larger blocks leave its cache and take up to three times as long."""


def run_chains(images: Tensor, draws: Mapping[str, Tensor], steps: int) -> Tensor:
    """The ends of all chains: (B, C, H, W) uint8 and a schedule of `augmix_plan.schedule` to (N, C, H, W) uint8."""
    results = [images]
    for step in range(steps):
        matrices, curves, cuts = (draws[f"{name}{step}"] for name in ("matrices", "curves", "cuts"))
        rows = results[-1].index_select(0, draws[f"sources{step}"])
        warped, curved, rest = rows.split((len(matrices), len(curves), len(cuts)))
        _in_place(affine_bilinear, warped, matrices)
        _in_place(curve, curved, curves)
        _in_place(cut, rest, cuts)
        results.append(rows)
    return torch.cat(results).index_select(0, draws["results"])


def curve(images: Tensor, kinds: Tensor) -> Tensor:
    """Autocontrast where `kinds` (N,) int64 is 0, equalize where it is 1; images (N, C, H, W) uint8."""
    histogram = histograms(images)
    chosen = kinds.bool()[:, None, None]
    return apply_tables(images, torch.where(chosen, equalize_tables(histogram), autocontrast_tables(histogram)))


def _in_place(operation: Callable[[Tensor, Tensor], Tensor], images: Tensor, settings: Tensor) -> None:
    if not len(images):
        return
    block = max(1, CACHED_VALUES // images[0].numel()) if images.device.type == "cpu" else len(images)
    for part, setting in zip(images.split(block), settings.split(block), strict=True):
        part.copy_(operation(part, setting))
