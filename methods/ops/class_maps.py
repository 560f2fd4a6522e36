"""Class activation maps of the network that is being trained."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.api import Backbone, FeatureMap


def class_maps(backbone: Backbone, images: Tensor, labels: Tensor) -> Tensor:
    """What speaks for each image's label at the positions of the last stage, (B, h, w) float32, detached, any sign.

    The map of channel l has the weight of the mean gradient of the label's logit over the positions (Selvaraju et al.,
    Grad-CAM, ICCV 2017, equations 1 and 2, without the ReLU). For a network that ends in average pooling and a linear
    layer this is CAM divided by the number of positions (Zhou et al., CVPR 2016, equation 2). It is zero everywhere
    where the logits do not depend on the positions, as with a class token.

    images: normalised (B, C, H, W). labels: (B,) int64. One forward pass; the backward pass ends at the last stage and
    changes no parameter's gradient. Call it inside `backbone.probe()`.
    """
    kept: list[Tensor] = []

    def keep(features: FeatureMap) -> FeatureMap:
        kept.append(features.spatial.detach().requires_grad_(True))
        return FeatureMap(kept[0].clone(), features.prefix)

    with torch.enable_grad():
        logits = backbone(images, edit={-1: keep})
        (gradient,) = torch.autograd.grad(logits.gather(1, labels[:, None]).sum(), kept[0])
    weights = gradient.float().mean((2, 3), keepdim=True)
    return (weights * kept[0].detach().float()).sum(1)
