"""What AutoMix and SAMix share: a mix block that is trained with the network, guided by its slowly moving copy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, Task, mixed_loss
from methods.ops.keys import Key
from methods.ops.mixing import draw_lam, draw_permutation
from methods.ops.momentum_teacher import cosine_momentum, follow, make_teacher


class LearnedMixingMethod(Method):
    """Base of AutoMix and SAMix: everything but the block, the upsampling and the penalty of the mask.

    alpha: of lam's Beta distribution. stage: whose map the block sees. mask_weight, mask_margin: of the mask's penalty.
    lam_margin: at lam this close to 0 or 1 the network sees plain Mixup. momentum, final_momentum: of the teacher.
    """

    upsampling: Literal["nearest", "bilinear"]
    block: nn.Module
    teacher: nn.Module

    def __init__(
        self,
        alpha: float,
        stage: int,
        mask_weight: float,
        mask_margin: float,
        lam_margin: float,
        momentum: float,
        final_momentum: float,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.stage = stage
        self.mask_weight = mask_weight
        self.mask_margin = mask_margin
        self.lam_margin = lam_margin
        self.momentum = momentum
        self.final_momentum = final_momentum

    def build_block(self, channels: int) -> nn.Module:
        """The mix block for maps of this many channels: (first, second, lam) to mask logits (B, 1, h, w)."""
        raise NotImplementedError

    def penalty(self, mask: Tensor, lam: Tensor) -> Tensor:
        """What the mask (B, 1, H, W) of the partner's share costs when an image's own label has weight lam ()."""
        return (torch.abs(1 - mask.mean() - lam) - self.mask_margin).clamp_min(0)

    def skip(self, backbone: Backbone, task: Task) -> str | None:
        """A stage that is not there, or whose map is a single position, where a mask has nothing to choose."""
        count = len(backbone.stages)
        if not -count <= self.stage < count:
            return f"there is no stage {self.stage}: the backbone has stages 0 to {count - 1}"
        side = math.ceil(max(task.input_shape[1:]) / backbone.reduction(self.stage))
        if side == 1:
            return f"the map of stage {self.stage} ({backbone.stages[self.stage]}) is 1x1: a mask has nothing to choose"
        return None

    def setup(self, backbone: Backbone, task: Task) -> None:
        """Copy the backbone as teacher and build the block."""
        super().setup(backbone, task)
        self.teacher = make_teacher(backbone)
        self.block = self.build_block(backbone.width(self.stage))

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """lam and permutation for the network, lam_block and permutation_block for the block: () float32, (B,) int64.

        The network's are those of Mixup at the same key and alpha.
        """
        block = key.fold("block")
        return Draws(
            tensors={
                "lam": draw_lam(key, self.alpha),
                "permutation": draw_permutation(key, shape.size),
                "lam_block": draw_lam(block, self.alpha),
                "permutation_block": draw_permutation(block, shape.size),
            }
        )

    @torch.no_grad()
    def guide(self, backbone: Backbone, batch: Batch, draws: Draws) -> Mapping[str, Tensor]:
        """features: the teacher's maps of the clean images (B, C, h, w) float32."""
        teacher = cast(Backbone, self.teacher)
        return {"features": teacher.features(batch.views[0], self.stage).spatial.float()}

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """Two passes through the network (clean, mixed), one through the teacher that trains the block alone."""
        (images,) = batch.views
        labels, features, criterion = batch.labels, draws["features"], self.task.criterion
        permutation, lam = draws["permutation"], draws["lam"]
        with torch.no_grad():
            near = (lam <= self.lam_margin) | (1 - lam <= self.lam_margin)
            mask = self.mask(features, permutation, lam, images)
            mask = torch.where(near, 1 - lam, mask)
        mixed = blend(images, permutation, mask)
        total = criterion(backbone(images), labels).mean()
        total = total + mixed_loss(criterion, backbone(mixed), labels, permutation, lam)

        permutation_block, lam_block = draws["permutation_block"], draws["lam_block"]
        mask_block = self.mask(features, permutation_block, lam_block, images)
        judged = self.teacher(blend(images, permutation_block, mask_block))
        generation = mixed_loss(criterion, judged, labels, permutation_block, lam_block)
        generation = generation + self.mask_weight * self.penalty(mask_block, lam_block)
        parts = {"share_kept": lam, "mask_share": 1 - mask.mean(), "generation": generation.detach()}
        return Loss(total + generation, parts)

    def mask(self, features: Tensor, permutation: Tensor, lam: Tensor, images: Tensor) -> Tensor:
        """The partner's share of each pixel (B, 1, H, W), float32 in [0, 1]."""
        with torch.autocast(images.device.type, enabled=False):
            logits = self.block(features, features[permutation], lam)
            return functional.interpolate(logits, images.shape[-2:], mode=self.upsampling).sigmoid()

    def after_step(self, backbone: Backbone, progress: float) -> None:
        """Move the teacher towards the network."""
        follow(self.teacher, backbone, cosine_momentum(self.momentum, self.final_momentum, progress))


def blend(images: Tensor, permutation: Tensor, mask: Tensor) -> Tensor:
    """(1 - mask) * images + mask * images[permutation] in the images' dtype; mask (B, 1, H, W) in [0, 1]."""
    return ((1 - mask) * images + mask * images[permutation]).to(images.dtype)
