"""AutoMix: a mask for mixing two images, learned together with the network."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import nn

from methods.ops.keys import Key
from methods.ops.learned_mixing import LearnedMixingMethod
from methods.ops.mix_block import AutoMixBlock


class AutoMix(LearnedMixingMethod):
    """Mix images by a mask that a small cross-attention block draws from a slowly moving copy of the network.

    Definition: the teacher is a moving average of the network; z and z' are its maps of an image and its partner after
    one stage. The mix block appends lam to z and 1 - lam to z' as channels and gives the partner's share
    s = sigmoid(U(softmax(q(z) k(z')^T / sqrt(d)) v(z'))), with q and k the same 1x1 convolution to half the channels, v
    a 1x1 convolution to one, U nearest-neighbour upsampling to the image. The mixed image is
    (1 - s) x + s x'. Two pairs of lam ~ Beta(alpha, alpha) and permutation are drawn a batch. With one the network is
    trained: L(clean) + lam L(y) + (1 - lam) L(y'), s without gradient. With the other the block alone is trained:
    lam L(y) + (1 - lam) L(y') of the teacher's logits, whose weights are fixed, plus
    mask_weight * max(|mean(1 - s) - lam| - mask_margin, 0), the mean over the whole batch. Where lam or 1 - lam is at
    most lam_margin the network sees plain Mixup. After each step teacher = m teacher + (1 - m) network, with m
    rising from momentum to final_momentum on a half cosine after the first tenth of the training.

    Defaults: the released code's for CIFAR with ResNet-18: alpha 2, third of four stages, margins 0.1 and 0.08, weight
    0.1, momentum 0.999 to 0.999999; but embed_lam is on, as in that code's files for larger data sets; the CIFAR files
    leave it off, and then the mask cannot know lam.

    Differences from the official code: one classifier for clean and mixed images, as in the paper, where the code has
    two. The teacher's batch norms use batch statistics, and the network's running ones in evaluation; dropout and
    stochastic depth are off in it. The block is trained with the protocol's optimiser; the code's CIFAR files end its
    cosine at half the learning rate.

    Traps: the label weight is lam, not the mask's mean: `mask_share` in the record says what share the mask kept. Each
    step has two passes and backward passes through the network, and through the teacher a forward pass up to the stage
    and a whole pass with a backward pass to the pixels.
    """

    title = "AutoMix"
    paper = "Liu et al., AutoMix: Unveiling the Power of Mixup for Stronger Classifiers, ECCV 2022, arXiv 2103.13027"
    family = "learned"
    venue = "ECCV 2022"
    mixes = "input"
    proved = "a loop over images and positions, each loss term's gradient by hand, the teacher in closed form"
    upsampling = "nearest"

    def __init__(
        self,
        *,
        alpha: Annotated[float, Ge(0)] = 2.0,
        embed_lam: bool = True,
        stage: int = -2,
        mask_weight: Annotated[float, Ge(0)] = 0.1,
        mask_margin: Annotated[float, Ge(0)] = 0.1,
        lam_margin: Annotated[float, Ge(0), Le(0.5)] = 0.08,
        momentum: Annotated[float, Ge(0), Le(1)] = 0.999,
        final_momentum: Annotated[float, Ge(0), Le(1)] = 0.999999,
    ) -> None:
        super().__init__(alpha, stage, mask_weight, mask_margin, lam_margin, momentum, final_momentum)
        self.embed_lam = embed_lam

    def build_block(self, channels: int) -> nn.Module:
        """AutoMix's block, with weights that depend on nothing but its size."""
        generator = torch.Generator().manual_seed(Key("automix", "block").integer())
        return AutoMixBlock(channels, self.embed_lam, generator)
