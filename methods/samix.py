"""SAMix: AutoMix with another mix block and with masks that are pushed to be sharp."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from methods.ops.keys import Key
from methods.ops.learned_mixing import LearnedMixingMethod
from methods.ops.mix_block import SAMixBlock


class SAMix(LearnedMixingMethod):
    """Mix images by a learned mask, as AutoMix does, with both images in the queries and with a reward for variance.

    Definition: AutoMix's training of network, block and teacher. The block multiplies the first map by 1 + s(lam) and
    the second by 2 - s(lam), where s(lam) = (4/3 lam^3 - 2 lam^2 + k lam) / (k - 2/3) with k = 1 + steepness; queries
    and keys are two 1x1 convolutions of both maps together; values pass through 1x1 convolution, batch norm, ELU and
    1x1 convolution; the mask's logits are upsampled bilinearly before the sigmoid. The mask's penalty is
    max(|mean(1 - s) - lam| - mask_margin, 0) - 2 var(s), mean and variance over the whole batch.

    Defaults: the released code's for CIFAR with ResNet-18: those of AutoMix and steepness 0.25.

    Differences from the official code: those of AutoMix. That code weights classes outside the mix by 0.5 in the
    block's soft cross entropy, which multiplies zeros and so changes nothing; it is left out. The paper's balance of a
    local and a global loss is not in that configuration and is left out too.

    Traps: the label weight is lam, not the mask's mean: `mask_share` in the record says what share the mask kept. The
    passes of a step are AutoMix's.
    """

    title = "SAMix"
    paper = (
        "Li et al., Boosting Discriminative Visual Representation Learning with Scenario-Agnostic Mixup, 2021, "
        "arXiv 2111.15454"
    )
    family = "learned"
    venue = "preprint 2021"
    mixes = "input"
    proved = "a loop over images and positions, each loss term's gradient by hand, the teacher in closed form"
    upsampling = "bilinear"

    def __init__(
        self,
        *,
        alpha: Annotated[float, Ge(0)] = 2.0,
        steepness: Annotated[float, Ge(0), Le(10)] = 0.25,
        stage: int = -2,
        mask_weight: Annotated[float, Ge(0)] = 0.1,
        mask_margin: Annotated[float, Ge(0)] = 0.1,
        lam_margin: Annotated[float, Ge(0), Le(0.5)] = 0.08,
        momentum: Annotated[float, Ge(0), Le(1)] = 0.999,
        final_momentum: Annotated[float, Ge(0), Le(1)] = 0.999999,
    ) -> None:
        super().__init__(alpha, stage, mask_weight, mask_margin, lam_margin, momentum, final_momentum)
        self.steepness = steepness

    def build_block(self, channels: int) -> nn.Module:
        """SAMix's block, with weights that depend on nothing but its size."""
        return SAMixBlock(channels, self.steepness, torch.Generator().manual_seed(Key("samix", "block").integer()))

    def penalty(self, mask: Tensor, lam: Tensor) -> Tensor:
        """Distance of the mean from lam, less twice the variance."""
        return super().penalty(mask, lam) - 2 * mask.var(correction=0)
