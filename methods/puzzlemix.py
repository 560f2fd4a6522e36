"""PuzzleMix: the mask between two images that loses least saliency, and their salient parts moved into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from torch.nn import functional

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, Normalise, Task, mixed_loss
from methods.ops.grid_labels import label_grid
from methods.ops.input_saliency import input_saliency
from methods.ops.keys import Key
from methods.ops.masked_transport import masked_transport, move_cells
from methods.ops.mixing import draw_lam, draw_permutation
from methods.ops.puzzle_energy import block_saliency, puzzle_energy

SIDES = (2, 4, 8, 16)
"""Blocks a side that are drawn from."""
LARGEST_TRANSPORT = 16
"""Cells a side of the finest grid on which cells are moved."""


class PuzzleMix(Method):
    """Train on images mixed by the mask of least energy over blocks, with salient cells moved to where they show.

    Definition: per batch b uniform over {2, 4, 8, 16}, lam ~ Beta(alpha, alpha) and a permutation. Saliency is the root
    of the channel mean of the squared input gradient of the clean loss. Each pair gets a mask on b x b blocks with
    values 0, 1/2, 1 (or 0, 1) that minimises lost saliency + torn edges + smoothness - eta * log prior(lam); see
    `methods/ops/puzzle_energy.py`. Then each image's cells of `cell` x `cell` pixels are moved by masked transport, so
    that salient ones come to where the mask shows them. The label weight of an image is the mean of its mask.

    Defaults: alpha 1, 3 mask values, beta 1.2, gamma 0.5, eta 0.2, neighbourhood 4, transport with distance cost 0.8
    and cells of 4 pixels, those of the official commands for CIFAR-100.

    Differences from the official code: the energy is the same, but it is minimised by a primal-dual iteration for the
    whole batch on the device instead of alpha-beta swaps by graph cut for one image after the other on the CPU, and in
    floating point instead of integers. Measured against exact optima the energy is within 0.1 % (tests), while swaps
    promise a local optimum. Saliency comes from the network in training mode with BatchNorm's running statistics left
    alone; that code uses evaluation mode, unless its clean loss is on (clean_lam), which is left out, as is adversarial
    noise. Transport repeats its rounds with the losers' costs raised, as in the paper; the official file raises them
    after its loop and so repeats the first round. Cells that nobody moves to are not shown by the mask; here they keep
    their content. The prior takes lam at least 1e-4 away from 0 and 1, where that code adds 1e-8 to probabilities,
    which is not convex in the mask value there. Only b that divide both sides of the images are drawn, sides need not
    be equal, and where cells of `cell` pixels do not divide a block, or are more than 16 a side, the blocks themselves
    are moved.

    Traps: one more forward and backward pass a step. The mask's solver takes about the same time for any image size;
    on a small network it dominates. alpha 0 does not switch mixing off: the prior is then strong, not infinite. The
    paper's loss is the binary cross entropy of the softmax outputs, here it is the protocol's.
    """

    title = "PuzzleMix"
    paper = (
        "Kim, Choo and Song, Puzzle Mix: Exploiting Saliency and Local Statistics for Optimal Mixup, ICML 2020, "
        "arXiv 2009.06962"
    )
    family = "saliency"
    venue = "ICML 2020"
    mixes = "input"
    proved = "energies against exact optima (all masks, maximum flow, linear programs), loops for energy and transport"

    def __init__(
        self,
        *,
        alpha: Annotated[float, Ge(0)] = 1.0,
        labels: Annotated[int, Ge(2), Le(3)] = 3,
        beta: Annotated[float, Gt(0)] = 1.2,
        gamma: Annotated[float, Ge(0), Le(1)] = 0.5,
        eta: Annotated[float, Ge(0)] = 0.2,
        neighbourhood: Annotated[int, Ge(1)] = 4,
        transport: bool = True,
        distance_cost: Annotated[float, Ge(0)] = 0.8,
        cell: Annotated[int, Ge(1)] = 4,
        iterations: Annotated[int, Ge(1)] = 120,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.labels = labels
        self.beta = beta
        self.gamma = gamma
        self.eta = eta
        self.neighbourhood = neighbourhood
        self.transport = transport
        self.distance_cost = distance_cost
        self.cell = cell
        self.iterations = iterations

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """branch: "blocks2", "blocks4", ... lam: () float32. permutation: (B,) int64."""
        sides = sides_for(shape.height, shape.width)
        if not sides:
            raise ValueError(f"images of {shape.height}x{shape.width} cannot be cut into 2x2 equal blocks")
        side = sides[int(key.fold("blocks").generator().integers(len(sides)))]
        tensors = {"lam": draw_lam(key, self.alpha), "permutation": draw_permutation(key, shape.size)}
        return Draws(f"blocks{side}", tensors)

    def views(self, images: Tensor, normalise: Normalise, draws: Draws) -> tuple[Tensor, ...]:
        """The normalised images, and their pixels in [0, 1]."""
        return normalise(images), images.float() / 255

    def guide(self, backbone: Backbone, batch: Batch, draws: Draws) -> Mapping[str, Tensor]:
        """mixed: (B, C, H, W), the mixed images. mask: (B, b, b) float32 in {0, 1/2, 1}, the own image's share."""
        images, pixels = batch.views
        permutation = draws["permutation"]
        with backbone.probe():
            saliency = input_saliency(backbone, images, batch.labels, self.task.criterion)
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            mask = self.mask(saliency, pixels, permutation, draws["lam"], int(draws.branch.removeprefix("blocks")))
            own, partner = images, images[permutation]
            if self.transport:
                own = self.transported(own, saliency, mask)
                partner = self.transported(partner, saliency[permutation], 1 - mask)
            shown = functional.interpolate(mask[:, None], images.shape[2:], mode="nearest")
            return {"mixed": shown * own + (1 - shown) * partner, "mask": mask}

    def mask(self, saliency: Tensor, pixels: Tensor, permutation: Tensor, lam: Tensor, side: int) -> Tensor:
        """Masks (B, side, side) float32 of nearly least energy.

        saliency: (B, H, W). pixels: (B, C, H, W) in [0, 1]. permutation: (B,) int64. lam: () float32.
        """
        blocks = block_saliency(saliency, side, side)
        energy = puzzle_energy(
            blocks,
            blocks[permutation],
            pixels,
            pixels[permutation],
            lam,
            labels=self.labels,
            beta=self.beta,
            gamma=self.gamma,
            eta=self.eta,
            neighbourhood=self.neighbourhood,
        )
        return 1 - label_grid(*energy, self.iterations).float() / (self.labels - 1)

    def transported(self, images: Tensor, saliency: Tensor, mask: Tensor) -> Tensor:
        """Images (B, C, H, W) with cells moved to where `mask` (B, b, b) is above 0. saliency: (B, H, W)."""
        rows, columns = self.transport_grid(images.shape[2], images.shape[3], mask.shape[1])
        shown = functional.interpolate(mask[:, None], (rows, columns), mode="nearest")[:, 0] > 0
        source = masked_transport(shown, block_saliency(saliency, rows, columns), self.distance_cost)
        return move_cells(images, source, rows, columns)

    def transport_grid(self, height: int, width: int, side: int) -> tuple[int, int]:
        """Rows and columns of the cells that are moved, for images (height, width) and side x side blocks."""
        blocks = (height // side, width // side)
        cell = min(self.cell, *blocks)
        grid = (height // cell, width // cell)
        fits = all(block % cell == 0 for block in blocks) and max(grid) <= LARGEST_TRANSPORT
        return grid if fits else (side, side)

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """The mixed loss of one pass over the mixed images."""
        logits = backbone(draws["mixed"])
        lam = draws["mask"].mean((1, 2))
        total = mixed_loss(self.task.criterion, logits, batch.labels, draws["permutation"], lam)
        return Loss(total, {"share_kept": lam.mean()})

    def skip(self, backbone: Backbone, task: Task) -> str | None:
        """Images that cannot be cut into equal blocks."""
        _, height, width = task.input_shape
        if sides_for(height, width):
            return None
        return f"images of {height}x{width} cannot be cut into 2x2 equal blocks"


def sides_for(height: int, width: int) -> tuple[int, ...]:
    """The blocks a side that divide both sides of an image."""
    return tuple(side for side in SIDES if height % side == 0 and width % side == 0)
