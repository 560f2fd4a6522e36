"""Co-Mixup: the batch's images are put together anew, each block from the image that is salient there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, Task
from methods.ops.block_mix import mix_blocks
from methods.ops.comix_labels import Rules, comix_labels
from methods.ops.input_saliency import input_saliency
from methods.ops.keys import Key
from methods.ops.parts import cut_parts, first_of_part, join_parts
from methods.ops.puzzle_energy import block_saliency
from methods.ops.salient_places import closeness, salient_places

SURE = 1e-8
"""Added to the prior's weights before the logarithm, as in the official code."""


class CoMixup(Method):
    """Train on images that are each put together from salient blocks of many, and on the clean images.

    Definition: the batch is cut into parts of m = `part` images in a row (the last may be smaller); each gives m mixed
    images. Write b for `blocks`, n = b * b, s_i(k) for image i's mean saliency in block k divided by its sum over
    blocks, z_j(k) for the weights (over the m images) of block k in output j, o_j = sum_k z_j(k). With
    p ~ Dirichlet(alpha, ..., alpha), one for a part, a block of image i costs c_i(k) = - s_i(k) - (eta / n) *
    log(p_i + 1e-8). From labels that are uniform and independent, `sweeps` times over all outputs in turn, z_j becomes
    the labelling of least

        sum_k c(k) . z_j(k) + (beta / n) * sum over neighbours of d(z_j(k), z_j(k'))
            + sum_k z_j(k) . (2 * gamma / n) * r * [r > threshold * n],   r = A * (sum of all other outputs' o),

    whose last term is the supermodular diversity, gamma / n * sum over j != j' of o_j' A o_j, made linear in o_j and
    left out for images that the other outputs show little of. d is 0 for equal labels and 1 for others. From the second
    sweep on an output may also take halves of two of its three most shown images, each at the mean cost of the two less
    5e-4; then d is 1/4 between a half and one of its two images. Before the last sweep, of outputs that show the same
    set of two or more images the earlier ones pay gamma / n more for the first of them in every block, the later ones
    for the second. A = (1 - omega) I + omega * m * D / sum(D), where D_ij is the distance |rows| + |columns| between
    the windows of 8 x 8 pixels in which images i and j are most salient.

    Mixed image j shows z_j(k) of its part's images in block k. The label weight of an image is its mean share, o_j / n.
    The loss is `clean` * L(clean) + L(mixed). Saliency is the root of the channel mean of the squared input gradient of
    the clean loss.

    Defaults: part 20, 4 x 4 blocks, beta 0.32, gamma 1, eta 0.05, threshold 0.83, omega 0.001, 4 sweeps, alpha 2,
    clean 1: those of the official commands. With clean 0 that code's README asks for a smaller alpha.

    Differences from the official code, from which all of this is read (the paper's own text could not be checked, so
    the threshold and the halves are the code's): each output is labelled exactly over its `candidates` most promising
    labels and then block by block over all (`methods/ops/many_labels.py`), for all parts at once on the device, not by
    alpha-beta swaps in whole numbers on the CPU. Measured against exact optima over all labels the energy is within 1 %
    (tests). That code stops sweeping when a sweep changes nothing; here all sweeps are done. Its CIFAR version takes
    the binary cross entropy of the softmax for mixed images and weighs the clean loss by 2; here both are the
    protocol's loss, summed at equal weight as in its ImageNet version. The clean pass that gives the saliency is not
    the one that is trained on, and leaves BatchNorm's running statistics alone. Blocks are equal cuts of both sides,
    which need not be equal; the window is 8 pixels at any image size. Where all images are most salient in one place,
    A is the identity.

    Traps: three passes a step where the official code has two, and `part` * `sweeps` small labellings in turn, which
    take about the same time for any image size: on a small network they dominate. The alternation is a heuristic, here
    as there: it need not reach the least energy over all outputs at once. The sum of two losses makes gradients about
    twice as large as those of most methods here. An output belongs to no image: the share kept counts the clean images
    and, in each mixed one, the image at its own place in the batch. A part of one image stays as it is. While saliency
    is nearly even, as in a network before training, most outputs show one whole image.
    """

    title = "Co-Mixup"
    paper = (
        "Kim, Choo, Jeong and Song, Co-Mixup: Saliency Guided Joint Mixup with Supermodular Diversity, ICLR 2021, "
        "arXiv 2102.03065"
    )
    family = "saliency"
    venue = "ICLR 2021"
    mixes = "input"
    proved = (
        "energies against exact optima (all labellings, maximum flow, pruned search), a loop over outputs and blocks"
    )

    def __init__(
        self,
        *,
        part: Annotated[int, Ge(2)] = 20,
        blocks: Annotated[int, Ge(2), Le(4)] = 4,
        beta: Annotated[float, Ge(0)] = 0.32,
        gamma: Annotated[float, Ge(0)] = 1.0,
        eta: Annotated[float, Ge(0)] = 0.05,
        threshold: Annotated[float, Ge(0)] = 0.83,
        omega: Annotated[float, Ge(0), Le(1)] = 0.001,
        alpha: Annotated[float, Gt(0)] = 2.0,
        sweeps: Annotated[int, Ge(1)] = 4,
        clean: Annotated[float, Ge(0)] = 1.0,
        candidates: Annotated[int, Ge(2), Le(12)] = 8,
    ) -> None:
        super().__init__()
        self.part = part
        self.blocks = blocks
        self.beta = beta
        self.gamma = gamma
        self.eta = eta
        self.threshold = threshold
        self.omega = omega
        self.alpha = alpha
        self.sweeps = sweeps
        self.clean = clean
        self.candidates = candidates

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """prior: (B,) float32, Dirichlet weights that sum to 1 in each part. start: (B, b, b) int64, the place in its
        part of the image that each block of each output shows at first."""
        reason = self._misfit(shape.height, shape.width)
        if reason is not None:
            raise ValueError(reason)
        sizes = [min(self.part, shape.size - first) for first in range(0, shape.size, self.part)]
        dirichlet, labels = key.fold("prior").generator(), key.fold("start").generator()
        prior = np.concatenate([dirichlet.dirichlet([self.alpha] * size) for size in sizes]).astype(np.float32)
        start = np.concatenate([labels.integers(0, size, (size, self.blocks, self.blocks)) for size in sizes])
        return Draws(tensors={"prior": torch.from_numpy(prior), "start": torch.from_numpy(start)})

    def guide(self, backbone: Backbone, batch: Batch, draws: Draws) -> Mapping[str, Tensor]:
        """mixed: (B, C, H, W). shares: (B, m) float32, each mixed image's share of the images of its part."""
        (images,) = batch.views
        size = len(images)
        with backbone.probe():
            saliency = input_saliency(backbone, images, batch.labels, self.task.criterion)
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            width = min(self.part, size)
            shown = self.shown(saliency, draws["prior"], draws["start"])
            shares = (shown.flatten(1)[..., None] == torch.arange(width, device=images.device)).float().mean(1)
            image = first_of_part(size, width, images.device)[:, None, None, None] + shown
            return {"mixed": mix_blocks(images, image), "shares": shares}

    def shown(self, saliency: Tensor, prior: Tensor, start: Tensor) -> Tensor:
        """The two images, by their place in the part, that each block shows in halves: (B, b, b, 2) int64.

        saliency: (B, H, W). prior: (B,). start: (B, b, b) int64.
        """
        size, cells = len(saliency), self.blocks**2
        width = min(self.part, size)
        real = cut_parts(torch.ones(size, dtype=torch.bool, device=saliency.device), width)
        cost = -block_saliency(saliency, self.blocks, self.blocks)
        cost = cost - self.eta / cells * (prior + SURE).log()[:, None, None]
        apart = closeness(cut_parts(salient_places(saliency), width), real, self.omega)
        rules = Rules(
            self.beta / cells,
            self.gamma / cells,
            self.threshold * cells,
            sweeps=self.sweeps,
            candidates=self.candidates,
        )
        return join_parts(comix_labels(cut_parts(cost, width), real, apart, cut_parts(start, width), rules), size)

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """The loss of the clean images and, in a pass of their own, of the mixed ones."""
        labels, shares = batch.labels, draws["shares"]
        size, width = shares.shape
        first = first_of_part(size, width, shares.device)[:, None]
        image = (first + torch.arange(width, device=shares.device)).clamp(max=size - 1)
        logits = backbone(draws["mixed"]).repeat_interleave(width, 0)
        losses = self.task.criterion(logits, labels[image].flatten()).reshape(size, width)
        mixed = (shares * losses).sum(1).mean()
        own = shares.gather(1, torch.arange(size, device=shares.device)[:, None] - first).mean()
        largest = shares.amax(1).mean()
        if self.clean == 0:
            return Loss(mixed, {"share_kept": own, "largest_share": largest})
        plain = self.task.criterion(backbone(batch.views[0]), labels).mean()
        kept = (self.clean + own) / (self.clean + 1)
        parts = {"share_kept": kept, "largest_share": largest, "clean": plain.detach(), "mixed": mixed.detach()}
        return Loss(self.clean * plain + mixed, parts)

    def skip(self, backbone: Backbone, task: Task) -> str | None:
        """Images that cannot be cut into equal blocks."""
        return self._misfit(*task.input_shape[1:])

    def _misfit(self, height: int, width: int) -> str | None:
        if height % self.blocks == 0 and width % self.blocks == 0:
            return None
        return f"images of {height}x{width} cannot be cut into {self.blocks}x{self.blocks} equal blocks"
