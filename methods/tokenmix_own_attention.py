"""TokenMix without its teacher: labels follow the trained network's own attention to the clean images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor
from torch.nn import functional

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, Task
from methods.ops.evaluating import evaluating
from methods.ops.keys import Key
from methods.ops.mixing import draw_lam, draw_permutation, mix
from methods.ops.token_blocks import draw_token_blocks

MIXUP, TOKENS = "mixup", "tokens"


class TokenMixOwnAttention(Method):
    """Replace blocks of tokens by a partner's, and weight each label by the attention that its tokens had.

    Definition: a coin (token_share) chooses token mixing or Mixup for each batch. In a token batch a mask M on the
    backbone's own token grid is drawn as random rectangles (see `methods.ops.token_blocks`), one for the batch, for
    (1 - lam) of the P tokens and 1/14 of them more; the partner's pixels replace the image's at those tokens. The label
    weights are those of the paper's content-based targets: A . (1 - M) for the image and A' . M for the partner, where
    A and A' are attention maps of the two clean images, each of sum 1. The paper takes them from a teacher network
    outside the training; here A is the class token's attention in the last block of the network that is being trained,
    the mean over heads, from a pass over the clean images in eval mode without gradient. The loss is
    (A . (1 - M)) * L(logits, y) + (A' . M) * L(logits, y[permutation]).

    Defaults: lam 0.5, Mixup with alpha 0.8, a fair coin: the released code's. On its grid of 14 x 14 tokens it
    replaces 112 of 196, of which 14 = 196 / 14 come from its "minimum tokens".

    Differences from TokenMix: no teacher (an NFNet-F6's label maps) and thus labels that change with the weights; the
    paper's own name is therefore not used. The loss is the protocol's, where the released code has the binary cross
    entropy of sigmoids; partners come from a uniform permutation. The 14 tokens scale with the grid.

    Traps: the two weights do not sum to 1: an image whose attention lies under the mask next to a partner whose
    attention lies outside it hardly counts. One extra forward pass in token batches. Early in training A is nearly
    uniform. The image's last rows and columns stay its own where its size is no multiple of the token's.
    """

    title = "TokenMix, own attention"
    paper = (
        "after Liu et al., TokenMix: Rethinking Image Mixing for Data Augmentation in Vision Transformers, ECCV 2022, "
        "arXiv 2207.08409"
    )
    family = "transformer"
    venue = "ECCV 2022"
    mixes = "input"
    proved = "a loop over images and tokens with timm's unfused attention, Mixup"

    def __init__(
        self,
        *,
        lam: Annotated[float, Ge(0), Le(1)] = 0.5,
        mixup_alpha: Annotated[float, Ge(0)] = 0.8,
        token_share: Annotated[float, Ge(0), Le(1)] = 0.5,
    ) -> None:
        super().__init__()
        self.lam = lam
        self.mixup_alpha = mixup_alpha
        self.token_share = token_share
        self.token = 1

    def skip(self, backbone: Backbone, task: Task) -> str | None:
        """Backbones whose class token's attention cannot be read."""
        return backbone.attention_refusal

    def setup(self, backbone: Backbone, task: Task) -> None:
        """Learn the token's side in pixels."""
        super().setup(backbone, task)
        self.token = backbone.reduction()

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """branch "mixup": lam () float32. branch "tokens": mask (rows, columns) bool. permutation: (B,) int64."""
        permutation = draw_permutation(key, shape.size)
        if key.fold("branch").generator().random() >= self.token_share:
            return Draws(MIXUP, {"lam": draw_lam(key, self.mixup_alpha), "permutation": permutation})
        rows, columns = max(1, shape.height // self.token), max(1, shape.width // self.token)
        tokens = rows * columns
        wanted = min(tokens, math.floor((1 - self.lam) * tokens) + round(tokens / 14)) if self.lam < 1 else 0
        return Draws(TOKENS, {"mask": draw_token_blocks(key, rows, columns, wanted), "permutation": permutation})

    @torch.no_grad()
    def guide(self, backbone: Backbone, batch: Batch, draws: Draws) -> Mapping[str, Tensor]:
        """attention: (B, P) float32 of the clean images, rows sum to 1; nothing in a Mixup batch."""
        if draws.branch == MIXUP:
            return {}
        with backbone.probe(), evaluating(backbone):
            attention = backbone.attention(batch.views[0])[1].mean(1)
        return {"attention": attention / attention.sum(1, keepdim=True)}

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """The mixed loss of one pass."""
        (images,) = batch.views
        permutation = draws["permutation"]
        if draws.branch == MIXUP:
            own, mixed = draws["lam"], mix(images, images[permutation], draws["lam"])
            partner = 1 - own
        else:
            replaced = draws["mask"].flatten()
            own = (draws["attention"] * ~replaced).sum(1)
            partner = (draws["attention"][permutation] * replaced).sum(1)
            mixed = torch.where(self.pixels(draws["mask"], images), images[permutation], images)
        logits = backbone(mixed)
        losses = [self.task.criterion(logits, labels) for labels in (batch.labels, batch.labels[permutation])]
        return Loss((own * losses[0] + partner * losses[1]).mean(), {"share_kept": own.mean()})

    def pixels(self, mask: Tensor, images: Tensor) -> Tensor:
        """The token mask (rows, columns) for the pixels of images (B, C, H, W): (H, W) bool."""
        big = mask.repeat_interleave(self.token, 0).repeat_interleave(self.token, 1)
        height, width = images.shape[-2:]
        big = big[:height, :width]
        return functional.pad(big, (0, width - big.shape[1], 0, height - big.shape[0]))
