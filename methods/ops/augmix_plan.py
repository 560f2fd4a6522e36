"""AugMix's random draws, made on the host: which operation each chain takes at each step, and how strongly.

The plan names operations and levels; its schedule holds what the device needs: lists of chains per kind of operation,
with matrices, tone curves and thresholds. Since the lists are made here, the device never waits for a count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.ops.affine import rotation_matrices

WARPS = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
CURVES = ("autocontrast", "equalize")
CUTS = ("posterize", "solarize")
OPERATIONS = (*WARPS, *CURVES, *CUTS)
ROTATE, SHEAR_X, SHEAR_Y, TRANSLATE_X, TRANSLATE_Y, AUTOCONTRAST, EQUALIZE, POSTERIZE, SOLARIZE = range(9)
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

    Four a step s, whose lengths vary from draw to draw: "sources{s}" (n,) int64, the rows to work on, of the images at
    step 0 and else of the previous step's results: first w rows to warp, then c for tone curves, then p to cut.
    "matrices{s}" (w, 6) float64; "curves{s}" (c,) int64, index into CURVES; "cuts{s}" (p, 2) uint8, the bits to keep as
    a mask and the highest level not to invert. And "results" (N,) int64: the row of each chain's end when the images
    and the results of all steps are put one after the other.
    """
    tensors: dict[str, Tensor] = {}
    row = np.arange(len(plan.depth)) % batch
    start, rows = 0, batch
    for step, (operation, level, sign) in enumerate(zip(plan.operation, plan.level, plan.sign, strict=True)):
        active = np.flatnonzero(plan.depth > step)
        kind = np.searchsorted([AUTOCONTRAST, POSTERIZE], operation[active], side="right")
        chains = active[np.argsort(kind, kind="stable")]
        warped, curved, cut = np.split(chains, np.cumsum(np.bincount(kind, minlength=3))[:2])
        tensors[f"sources{step}"] = torch.from_numpy(row[chains] - start)
        tensors[f"matrices{step}"] = torch.from_numpy(
            warp_matrices(operation[warped], level[warped] * sign[warped], height, width)
        )
        tensors[f"curves{step}"] = torch.from_numpy(operation[curved] - AUTOCONTRAST)
        tensors[f"cuts{step}"] = torch.from_numpy(cut_settings(operation[cut], level[cut]))
        start, rows = rows, rows + len(chains)
        row[chains] = np.arange(start, rows)
    tensors["results"] = torch.from_numpy(row)
    return tensors


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
