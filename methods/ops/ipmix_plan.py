"""IPMix's random draws, made on the host: what every chain does at each step, and lists for the device to work by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.ops.augmix_plan import (
    EQUALIZE,
    LOWEST_LEVEL,
    POSTERIZE,
    ROTATE,
    SHEAR_X,
    SHEAR_Y,
    SOLARIZE,
    TRANSLATE_X,
    TRANSLATE_Y,
    counts_as_shapes,
    cut_settings,
    warp_matrices,
)
from methods.ops.picture_mixing import draw_powers

MIRROR, INVERT = SOLARIZE + 1, SOLARIZE + 2
IMAGE_OPERATIONS = np.array(
    [EQUALIZE, POSTERIZE, ROTATE, SOLARIZE, SHEAR_X, SHEAR_Y, TRANSLATE_X, TRANSLATE_Y, MIRROR, INVERT]
)
ADD, MULTIPLY, PIXELS, ELEMENTS = range(4)
"""How a patch is mixed: by two formulas, or by taking whole pixels or single channel values from either at random."""
SIZES = 4
SMALLEST = 2
WARPED, EQUALIZED, CUT, INVERTED, COMBINED, TAKEN = range(6)
"""Kinds of steps, each worked on at once. TAKEN is both random ways of mixing a patch."""
KINDS = 6


@dataclass(frozen=True)
class Plan:
    """What N chains do at each of S steps.

    depth: (N,) int64 in [0, S]. patched: (N,) bool, chains that mix patches; the others change the whole image.
    For whole images: operation (S, N) int64, one of IMAGE_OPERATIONS; level (S, N) float64 on a scale of 10; sign
    (S, N) int64. For patches: box (S, N, 4) int64, top, left, bottom, right in pixels; mixing (S, N) int64, ADD to
    ELEMENTS; powers (2, S, N) float32, see `picture_mixing.combined`; share (S, N) float32, the chance that a value
    stays where values are taken at random.
    """

    depth: NDArray[np.int64]
    patched: NDArray[np.bool_]
    operation: NDArray[np.int64]
    level: NDArray[np.float64]
    sign: NDArray[np.int64]
    box: NDArray[np.int64]
    mixing: NDArray[np.int64]
    powers: NDArray[np.float32]
    share: NDArray[np.float32]


def draw_plan(
    generator: np.random.Generator, chains: int, steps: int, severity: float, beta: float, height: int, width: int
) -> Plan:
    """Everything uniform over its choices; depth U{0, ..., steps}, levels U(0.1, severity), powers by `draw_powers`."""
    shape = (steps, chains)
    return Plan(
        depth=generator.integers(steps + 1, size=chains),
        patched=generator.random(chains) < 0.5,
        operation=generator.choice(IMAGE_OPERATIONS, shape),
        level=generator.uniform(LOWEST_LEVEL, severity, shape),
        sign=2 * generator.integers(2, size=shape) - 1,
        box=draw_boxes(generator, shape, height, width),
        mixing=generator.integers(4, size=shape),
        powers=draw_powers(generator, beta, shape),
        share=generator.random(shape, dtype=np.float32),
    )


def patch_sizes(height: int, width: int) -> NDArray[np.int64]:
    """An eighth, a quarter, a half and all of the shorter side, in whole pixels and at least 2 if it has as many."""
    side = min(height, width)
    return np.array([max(side >> halvings, min(side, SMALLEST)) for halvings in reversed(range(SIZES))])


def draw_boxes(generator: np.random.Generator, shape: tuple[int, int], height: int, width: int) -> NDArray[np.int64]:
    """(*shape, 4) boxes: a size of `patch_sizes`, a place where a square of this size fits, and then the square or,
    with chance 1/2, a part of it that has its upper left corner and sides U{2, ..., size}."""
    size = generator.choice(patch_sizes(height, width), shape)
    top, left = (generator.integers(side - size + 1) for side in (height, width))
    whole = generator.random(shape) < 0.5
    tall, wide = (np.where(whole, size, generator.integers(np.minimum(size, SMALLEST), size + 1)) for _ in range(2))
    return np.stack([top, left, top + tall, left + wide], axis=-1)


def schedule(plan: Plan, height: int, width: int) -> dict[str, Tensor]:
    """The plan as tensors, step after step and in each kind after kind, without the steps that no chain takes.

    "counts{s}.{k}" have no elements: their shapes tell how many chains are of each kind in step s. "chains" int64: the
    chains. Settings of those that have them, in the same order: "matrices" (w, 6) float64; "cuts" (c, 2) uint8; "boxes"
    (p, 4) int64 of both kinds of patches; "powers" (2, p) and "multiplied" (p,) bool of COMBINED; "share" (p,) float32
    and "by_pixel" (p,) bool of TAKEN.
    """
    tensors: dict[str, Tensor] = {}
    lists: dict[str, list[NDArray[np.generic]]] = {
        name: [] for name in ("chains", "matrices", "cuts", "boxes", "powers", "multiplied", "share", "by_pixel")
    }
    for step, kinds in enumerate(_kinds(plan)):
        active = np.flatnonzero(plan.depth > step)
        of_kind = [active[kinds[active] == kind] for kind in range(KINDS)]
        tensors |= counts_as_shapes(step, [len(chains) for chains in of_kind])
        lists["chains"] += of_kind
        lists["matrices"].append(_matrices(plan, step, of_kind[WARPED], height, width))
        lists["cuts"].append(cut_settings(plan.operation[step, of_kind[CUT]], plan.level[step, of_kind[CUT]]))
        lists["boxes"] += [plan.box[step, of_kind[kind]] for kind in (COMBINED, TAKEN)]
        lists["powers"].append(plan.powers[:, step, of_kind[COMBINED]].T)
        lists["multiplied"].append(plan.mixing[step, of_kind[COMBINED]] == MULTIPLY)
        lists["share"].append(plan.share[step, of_kind[TAKEN]])
        lists["by_pixel"].append(plan.mixing[step, of_kind[TAKEN]] == PIXELS)
    return {**tensors, **{name: torch.from_numpy(np.concatenate(parts)) for name, parts in lists.items() if parts}}


def counts_of(draws: Mapping[str, Tensor], step: int) -> tuple[int, ...]:
    """How many chains are of each kind in a step, KINDS of them."""
    return (*draws[f"counts{step}.0"].shape[1:], *draws[f"counts{step}.1"].shape[1:])


def _kinds(plan: Plan) -> NDArray[np.int64]:
    operation = plan.operation
    whole = np.select(
        [operation == EQUALIZE, (operation == POSTERIZE) | (operation == SOLARIZE), operation == INVERT],
        [EQUALIZED, CUT, INVERTED],
        WARPED,
    )
    return np.where(plan.patched, np.where(plan.mixing <= MULTIPLY, COMBINED, TAKEN), whole)


def _matrices(plan: Plan, step: int, chains: NDArray[np.int64], height: int, width: int) -> NDArray[np.float64]:
    operation = plan.operation[step, chains]
    matrices = warp_matrices(operation, plan.level[step, chains] * plan.sign[step, chains], height, width)
    matrices[operation == MIRROR] = (-1, 0, width, 0, 1, 0)
    return matrices
