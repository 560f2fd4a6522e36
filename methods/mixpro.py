"""MixPro: images mixed cell by cell, labels that trust the attention more as predictions get better."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor
from torch.nn import functional

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, Task, mixed_loss
from methods.ops.boxes import draw_box, paste, share_outside
from methods.ops.cells import draw_cells, enlarge
from methods.ops.keys import Key
from methods.ops.mixing import draw_lam, draw_permutation, mix

MIXUP, CUTMIX, CELLS = "mixup", "cutmix", "cells"


class MixPro(Method):
    """Keep random square cells of an image, take the others from its partner, and let the label follow the attention.

    Definition: a coin (cell_share) chooses MaskMix or the DeiT recipe, which is a fair coin between Mixup and CutMix.
    MaskMix: the image is a grid of square cells, `cells` a side and each of whole tokens; with lam ~ Beta(alpha,
    alpha), one for the batch, each image keeps a share lam of them, rounded up, at places of its own, and lam becomes
    their exact share of the pixels. Progressive attention labelling: the mixed image goes through the network once; p
    is its softmax output, A the class token's attention over the tokens in the last block, the mean over heads,
    without gradient, and a the share of A on tokens that were kept. The label weight of the image is c a + (1 - c)
    lam, where c is the cosine of p and the area's label lam y + (1 - lam) y'. The loss is that weight's mix of
    L(logits, y) and L(logits, y').

    Defaults: the released code's for DeiT: half of the batches, alpha 1, Mixup 0.8, CutMix 1.0, and 4 cells
    a side, which are 56 pixels of 224 (DeiT-B has 2).

    Differences from the official code: the label in the cosine has no label smoothing. A last row or column of cells
    that sticks out of the image is cut off and lam counts pixels, where that code needs sizes that are multiples.
    CutMix and its box are this project's.

    Traps: as in the released code the gradient flows through c, so the weight itself is trained: the network may move
    it towards the label that it finds easier. Only for backbones that classify by a class token. lam is rounded up to
    whole cells, so on few cells the image keeps more than half on average: 0.53 of 16 cells.
    """

    title = "MixPro"
    paper = (
        "Zhao et al., MixPro: Data Augmentation with MaskMix and Progressive Attention Labeling for Vision "
        "Transformer, ICLR 2023, arXiv 2304.12043"
    )
    family = "transformer"
    venue = "ICLR 2023"
    mixes = "input"
    proved = "a loop over images and cells with timm's unfused attention, Mixup, CutMix"

    def __init__(
        self,
        *,
        alpha: Annotated[float, Ge(0)] = 1.0,
        cells: Annotated[int, Ge(2)] = 4,
        cell_share: Annotated[float, Ge(0), Le(1)] = 0.5,
        mixup_alpha: Annotated[float, Ge(0)] = 0.8,
        cutmix_alpha: Annotated[float, Ge(0)] = 1.0,
        progressive: bool = True,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.cells = cells
        self.cell_share = cell_share
        self.mixup_alpha = mixup_alpha
        self.cutmix_alpha = cutmix_alpha
        self.progressive = progressive
        self.token = self.cell_tokens = 1

    def skip(self, backbone: Backbone, task: Task) -> str | None:
        """Backbones whose class token's attention cannot be read, and those with a single token."""
        if backbone.attention_refusal is not None:
            return backbone.attention_refusal
        return "there is only one token to mix" if max(task.input_shape[1:]) <= backbone.reduction() else None

    def setup(self, backbone: Backbone, task: Task) -> None:
        """Learn a token's side in pixels and a cell's side in tokens."""
        super().setup(backbone, task)
        self.token = backbone.reduction()
        self.cell_tokens = math.ceil(math.ceil(max(task.input_shape[1:]) / self.token) / self.cells)

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """branch "cells": cells (B, rows, columns) bool, true where the image is kept. branch "cutmix": box (4,) int64.
        branch "mixup": lam () float32. permutation: (B,) int64."""
        permutation = draw_permutation(key, shape.size)
        if key.fold("branch").generator().random() < self.cell_share:
            side = self.token * self.cell_tokens
            rows, columns = math.ceil(shape.height / side), math.ceil(shape.width / side)
            cells = draw_cells(key, draw_lam(key, self.alpha).item(), shape.size, rows, columns)
            return Draws(CELLS, {"cells": cells, "permutation": permutation})
        if key.fold("switch").generator().random() < 0.5:
            box = draw_box(key, draw_lam(key, self.cutmix_alpha).item(), shape.height, shape.width)
            return Draws(CUTMIX, {"box": box, "permutation": permutation})
        return Draws(MIXUP, {"lam": draw_lam(key, self.mixup_alpha), "permutation": permutation})

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """The mixed loss of one pass, which in a MaskMix batch gives the labels' weights too."""
        (images,) = batch.views
        permutation = draws["permutation"]
        partners = images[permutation]
        if draws.branch == CELLS:
            height, width = images.shape[-2:]
            kept = enlarge(draws["cells"], self.token * self.cell_tokens, height, width)
            logits, attention = backbone.attention(torch.where(kept[:, None], images, partners))
            lam = kept.float().mean((1, 2))
            if self.progressive:
                lam = self.own_weight(logits, attention.mean(1), batch.labels, permutation, lam, draws["cells"])
        elif draws.branch == CUTMIX:
            logits = backbone(paste(images, partners, draws["box"]))
            lam = share_outside(draws["box"], images.shape[-2], images.shape[-1])
        else:
            lam = draws["lam"]
            logits = backbone(mix(images, partners, lam))
        total = mixed_loss(self.task.criterion, logits, batch.labels, permutation, lam)
        return Loss(total, {"share_kept": lam.detach().mean()})

    def own_weight(
        self, logits: Tensor, attention: Tensor, labels: Tensor, permutation: Tensor, lam: Tensor, cells: Tensor
    ) -> Tensor:
        """Label weight of each image itself, (B,) float32 in [0, 1], with gradient through the logits (B, K).

        attention: (B, tokens), at least 0, on a square grid. lam: (B,), the share of the pixels. cells: (B, rows,
        columns) bool, kept.
        """
        side = math.isqrt(attention.shape[1])
        kept = enlarge(cells, self.cell_tokens, side, side).flatten(1)
        seen = (attention * kept).sum(1) / attention.sum(1)
        classes = functional.one_hot(labels, logits.shape[1]).float()
        area_label = lam[:, None] * classes + (1 - lam[:, None]) * classes[permutation]
        agreement = functional.cosine_similarity(area_label, logits.float().softmax(1), dim=1)
        return agreement * seen + (1 - agreement) * lam
