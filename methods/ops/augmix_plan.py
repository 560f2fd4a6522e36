"""AugMix's random draws, made on the host: which operation each chain takes at each step, and how strongly.

The plan names operations and levels; its schedule holds what the device needs: lists of chains per kind of operation,
with matrices, tone curves and thresholds. Since the lists are made here, the device never waits for a count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.ops.affine import rotation_matrices

OPERATIONS = (
    "rotate", "shear_x", "shear_y", "translate_x", "translate_y", "autocontrast", "equalize", "posterize", "solarize",
)  # fmt: skip
ROTATE, SHEAR_X, SHEAR_Y, TRANSLATE_X, TRANSLATE_Y, AUTOCONTRAST, EQUALIZE, POSTERIZE, SOLARIZE = range(9)
KIND = np.array([0, 1, 2, 3, 3, 4, 5, 6, 6])
"""Operations of one kind are worked on together: rotations, shears of rows, shears of columns, shifts, autocontrast,
equalize, cuts."""
WARPED_KINDS = 4
"""The first of the kinds; they have matrices."""
KINDS = 7
COUNTS_A_SHAPE = 3
LOWEST_LEVEL = 0.1
FULL_LEVEL = 10
"""Levels are on a scale of 10: an operation at level 10 has its full strength."""


@dataclass(frozen=True)
class Plan:
    """What N chains do at each of S steps.

    operation: (S, N) int64, index into OPERATIONS. level: (S, N) float64 in [0.1, 10]. sign: (S, N) int64, -1 or 1,
    the direction of a warp. depth: (N,) int64 in [0, S], how many of its steps a chain takes.
    """

    operation: NDArray[np.int64]
    level: NDArray[np.float64]
    sign: NDArray[np.int64]
    depth: NDArray[np.int64]


def draw_plan(generator: np.random.Generator, chains: int, steps: int, random_depth: bool, severity: float) -> Plan:
    """Operations uniform over OPERATIONS, levels U(0.1, severity), fair signs; depth U{1, ..., steps} or all steps."""
    shape = (steps, chains)
    return Plan(
        operation=generator.integers(len(OPERATIONS), size=shape),
        level=generator.uniform(LOWEST_LEVEL, severity, shape),
        sign=2 * generator.integers(2, size=shape) - 1,
        depth=generator.integers(1, steps + 1, size=chains) if random_depth else np.full(chains, steps),
    )


def schedule(plan: Plan, batch: int, height: int, width: int) -> dict[str, Tensor]:
    """The plan as tensors, for chains that start from image (chain index modulo batch) of this size in pixels.

    Rows are the images (B of them), then the results of the first step, then those of the second and so on; a step has
    a row for each chain that is so deep, sorted by kind. "counts{s}.{k}" have no elements: their shapes tell the rows
    of each kind in step s (`counts_of`), so that no device is asked for a count. For the rows of all steps one after
    the other: "sources" int64, the row to work on; "matrices" (w, 6) float64 of the warps; "cuts" (p, 2) uint8, the
    bits to keep as a mask and the highest level not to invert. And "results" (N,) int64: the row of each chain's end.
    """
    row = np.arange(len(plan.depth)) % batch
    rows = batch
    tensors: dict[str, Tensor] = {}
    sources, matrices, cuts = [np.zeros(0, np.int64)], [np.zeros((0, 6))], [np.zeros((0, 2), np.uint8)]
    for step, (operation, level, sign) in enumerate(zip(plan.operation, plan.level, plan.sign, strict=True)):
        active = np.flatnonzero(plan.depth > step)
        kind = KIND[operation[active]]
        chains = active[np.argsort(kind, kind="stable")]
        counts = np.bincount(kind, minlength=KINDS)
        warped, cut = chains[: counts[:WARPED_KINDS].sum()], chains[len(chains) - counts[-1] :]
        tensors |= counts_as_shapes(step, counts.tolist())
        sources.append(row[chains])
        matrices.append(warp_matrices(operation[warped], level[warped] * sign[warped], height, width))
        cuts.append(cut_settings(operation[cut], level[cut]))
        row[chains] = np.arange(rows, rows + len(chains))
        rows += len(chains)
    whole = {"sources": sources, "matrices": matrices, "cuts": cuts}
    joined = {name: torch.from_numpy(np.concatenate(parts)) for name, parts in whole.items()}
    return {**tensors, **joined, "results": torch.from_numpy(row)}


def counts_as_shapes(step: int, counts: Sequence[int]) -> dict[str, Tensor]:
    """Counts below 2**21 as shapes (0, n, n, n) of empty tensors: more in one shape would overflow its strides."""
    groups = [counts[first : first + COUNTS_A_SHAPE] for first in range(0, len(counts), COUNTS_A_SHAPE)]
    return {f"counts{step}.{number}": torch.empty(0, *group) for number, group in enumerate(groups)}


def counts_of(draws: Mapping[str, Tensor], step: int) -> tuple[int, ...]:
    """The rows of each kind in a step, KINDS of them."""
    groups = range(-(-KINDS // COUNTS_A_SHAPE))
    return tuple(count for number in groups for count in draws[f"counts{step}.{number}"].shape[1:])


def warp_matrices(
    operation: NDArray[np.int64], level: NDArray[np.float64], height: int, width: int
) -> NDArray[np.float64]:
    """(w, 6) matrices for signed levels; at 10: 30 whole degrees, a shear of 0.3, a third of the side, whole pixels."""
    matrices = rotation_matrices(_whole(level, 30), height, width)
    matrices[operation != ROTATE] = (1, 0, 0, 0, 1, 0)
    for name, column, amount in (
        (SHEAR_X, 1, level * 0.3 / FULL_LEVEL),
        (SHEAR_Y, 3, level * 0.3 / FULL_LEVEL),
        (TRANSLATE_X, 2, _whole(level, width / 3)),
        (TRANSLATE_Y, 5, _whole(level, height / 3)),
    ):
        chosen = operation == name
        matrices[chosen, column] = amount[chosen]
    return matrices


def cut_settings(operation: NDArray[np.int64], level: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(p, 2) mask and highest level not to invert: posterize keeps 4 to 1 bits, solarize inverts from 256 down to 1."""
    bits = np.where(operation == POSTERIZE, 4 - _whole(level, 4), 8).clip(1)
    highest = np.where(operation == SOLARIZE, 255 - _whole(level, 256), 255).clip(0)
    return np.stack([256 - (1 << (8 - bits)), highest], axis=1).astype(np.uint8)


def _whole(level: NDArray[np.float64], most: float) -> NDArray[np.int64]:
    return (level * most / FULL_LEVEL).astype(np.int64)
