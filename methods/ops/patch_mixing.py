"""IPMix's chains on the device: whole images changed, or patches of them mixed with patches of a picture."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from methods.ops.affine import affine_bilinear
from methods.ops.ipmix_plan import CUT, KINDS, WARPED, counts_of
from methods.ops.picture_mixing import combined
from methods.ops.tone_curves import cut, equalize
from methods.ops.white_noise import uniform


def run_chains(images: Tensor, pictures: Tensor, draws: Mapping[str, Tensor], steps: int, wrap: bool) -> Tensor:
    """The ends of all chains, (N, C, H, W) uint8; chain n starts from image n modulo B.

    images, pictures (B, C, H, W) uint8; draws of `ipmix_plan.schedule` and "weights", "seeds" of the method's draws;
    wrap: see `levels`.
    """
    ends = images.repeat(draws["weights"].numel() // len(images), 1, 1, 1)
    if not steps:
        return ends
    counts = [counts_of(draws, step) for step in range(steps)]
    combinations, takings = [count[-2] for count in counts], [count[-1] for count in counts]
    chains = iter(draws["chains"].split([number for count in counts for number in count]))
    matrices = iter(draws["matrices"].split([count[WARPED] for count in counts]))
    cuts = iter(draws["cuts"].split([count[CUT] for count in counts]))
    boxes = iter(draws["boxes"].split([number for count in counts for number in count[-2:]]))
    powers, multiplied = iter(draws["powers"].split(combinations)), iter(draws["multiplied"].split(combinations))
    shares, by_pixel = iter(draws["share"].split(takings)), iter(draws["by_pixel"].split(takings))
    for step in range(steps):
        warped, equalized, cutted, inverted, mixed, taken = (next(chains) for _ in range(KINDS))
        ends[warped] = affine_bilinear(ends[warped], next(matrices))
        ends[equalized] = equalize(ends[equalized])
        ends[cutted] = cut(ends[cutted], next(cuts))
        ends[inverted] = 255 - ends[inverted]
        patches = pictures[mixed % len(images)]
        mix = formula_mix(ends[mixed], patches, next(powers), next(multiplied), wrap)
        ends[mixed] = inside(next(boxes), ends[mixed], mix)
        patches = pictures[taken % len(images)]
        mix = random_mix(ends[taken], patches, next(shares), next(by_pixel), draws["seeds"][step])
        ends[taken] = inside(next(boxes), ends[taken], mix)
    return ends


def formula_mix(images: Tensor, pictures: Tensor, powers: Tensor, multiplied: Tensor, wrap: bool) -> Tensor:
    """Images added to or multiplied by pictures, (n, C, H, W) uint8; powers (n, 2) and multiplied (n,) bool.

    Computed in float64, so that devices agree on which side of a whole level a value falls.
    """
    a_and_b = powers.T.double()[..., None, None, None]
    result = combined(images.double() / 255, pictures.double() / 255, a_and_b, multiplied[:, None, None, None])
    return levels(result, wrap)


def levels(values: Tensor, wrap: bool) -> Tensor:
    """Values, 1 for white, to uint8: 255 times as much in float32, the fraction cut off. What lies beyond 0 and 255 is
    clipped or, with wrap, counted on from the other end, modulo 256 (in float32, 0 from 2**32 on)."""
    whole = (255 * values.float()).trunc()
    if not wrap:
        return whole.clamp(0, 255).to(torch.uint8)
    return whole.double().clamp(-(2.0**61), 2.0**61).remainder(256).to(torch.uint8)


def random_mix(images: Tensor, pictures: Tensor, shares: Tensor, by_pixel: Tensor, seeds: Tensor) -> Tensor:
    """Each value from the image with chance `shares` (n,), else from the picture; where `by_pixel` (n,) is true all
    channels of a pixel go together. seeds (2,) int64."""
    noise = uniform(seeds, images.shape)
    noise = torch.where(by_pixel[:, None, None, None], noise[:, :1], noise)
    return torch.where(noise < shares[:, None, None, None], images, pictures)


def inside(boxes: Tensor, outer: Tensor, inner: Tensor) -> Tensor:
    """`inner` inside the boxes (n, 4) of top, left, bottom, right, else `outer`; both (n, C, H, W)."""
    top, left, bottom, right = boxes[:, :, None].unbind(1)
    rows = torch.arange(outer.shape[-2], device=outer.device)
    columns = torch.arange(outer.shape[-1], device=outer.device)
    tall, wide = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    return torch.where(tall[:, None, :, None] & wide[:, None, None, :], inner, outer)
