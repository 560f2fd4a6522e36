"""AugMix's chains of operations on the device: batches of uint8 images, one draw per image and step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor

from methods.ops.affine import affine_bilinear, shift
from methods.ops.augmix_plan import WARPED_KINDS, counts_of
from methods.ops.tone_curves import autocontrast, cut, equalize

CACHED_VALUES = 2**16
"""Pixel values that a CPU works on at once: larger blocks leave its cache and take up to three times as long."""
WARPS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    affine_bilinear,
    partial(affine_bilinear, rows=False),
    partial(affine_bilinear, columns=False),
    shift,
)
"""What a CPU does for each of WARPED_KINDS. Other devices warp all kinds at once: that is fewer launches."""


def run_chains(images: Tensor, draws: Mapping[str, Tensor], steps: int) -> Tensor:
    """The ends of all chains: (B, C, H, W) uint8 and a schedule of `augmix_plan.schedule` to (N, C, H, W) uint8."""
    counts = [counts_of(draws, step) for step in range(steps)]
    matrices = iter(draws["matrices"].split([sum(count[:WARPED_KINDS]) for count in counts])) if steps else iter(())
    cuts = iter(draws["cuts"].split([count[-1] for count in counts])) if steps else iter(())
    done, end = len(images), len(images) + len(draws["sources"])
    rows = images.new_empty(end, *images.shape[1:])
    rows[:done] = images
    for count in counts:
        end = done + sum(count)
        current = rows[done:end]
        first = done - len(images)
        current.copy_(rows.index_select(0, draws["sources"][first : first + sum(count)]))
        warped, contrasted, equalized, rest = current.split((sum(count[:WARPED_KINDS]), *count[WARPED_KINDS:]))
        _warp(warped, next(matrices), count[:WARPED_KINDS])
        _in_place(autocontrast, contrasted)
        _in_place(equalize, equalized)
        _in_place(cut, rest, next(cuts))
        done = end
    return rows.index_select(0, draws["results"])


def mix(images: Tensor, ends: Tensor, weights: Tensor, strength: Tensor) -> Tensor:
    """(1 - strength) * image + strength * the weighted sum of the ends of its chains, in levels.

    images (B, C, H, W) uint8; ends (V, K, B, C, H, W) uint8; weights (V, K, B) and strength (V, B) float32. Returns
    (V, B, C, H, W) float32.
    """
    weights, strength = weights[..., None, None, None], strength[..., None, None, None]
    mixed = torch.empty(len(ends), *images.shape, device=images.device)
    for part in _blocks(len(images), ends[:, 0, :1].numel(), images.device):
        total = weights[:, 0, part] * ends[:, 0, part]
        for chain in range(1, ends.shape[1]):
            total += weights[:, chain, part] * ends[:, chain, part]
        share = strength[:, part]
        torch.add((1 - share) * images[part], total.mul_(share), out=mixed[:, part])
    return mixed


def _warp(images: Tensor, matrices: Tensor, counts: tuple[int, ...]) -> None:
    if images.device.type == "cpu":
        for warp, part, settings in zip(WARPS, images.split(counts), matrices.split(counts), strict=True):
            _in_place(warp, part, settings)
    else:
        _in_place(affine_bilinear, images, matrices)


def _in_place(operation: Callable[..., Tensor], images: Tensor, *settings: Tensor) -> None:
    if len(images):
        for part in _blocks(len(images), images[0].numel(), images.device):
            images[part] = operation(images[part], *(setting[part] for setting in settings))


def _blocks(count: int, values: int, device: torch.device) -> Iterator[slice]:
    """Slices of range(count), each with as many rows of so many values as a CPU should work on at once."""
    block = max(1, CACHED_VALUES // values) if device.type == "cpu" else count
    return (slice(start, start + block) for start in range(0, count, block))
