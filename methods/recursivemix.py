"""RecursiveMix: the previous step's mixed images, shrunk, pasted into this step's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn
from torchvision.ops import roi_align

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, Task
from methods.ops.boxes import box_mask, draw_box, share_outside
from methods.ops.keys import Key
from methods.ops.resize_paste import nearest_into, nearest_into_each
from methods.ops.sample_boxes import box_masks, draw_boxes, shares_outside

LABELS = 24
"""Labels kept an image. Each step halves the weight of the past at least, so what is older weighs below 2**-23."""
HISTORY = ("past_images", "past_labels", "past_weights", "past_predictions")


class RecursiveMix(Method):
    """Train on images with the previous batch's mixed images pasted in; what was predicted for those is to hold there.

    Definition: a box of CutMix with sides sqrt(s) * H and sqrt(s) * W, s ~ U(0, area), a centre uniform over the image,
    clipped at the border. Into it goes, shrunk, the image that stood at the same place of the previous batch after its
    own mixing. With lam the share of pixels that stayed, the label is lam * y + (1 - lam) * the previous label, which
    is itself mixed. RoIAlign reads the box from the last feature map as one vector, a linear layer of its own turns it
    into logits, and the loss is L(logits, mixed label) + omega * (1 - lam) * the cross entropy of these logits against
    the previous step's prediction for the pasted image.

    Defaults: area 0.5, omega 0.1: the official code's for CIFAR; omega is 0.5 for ImageNet. Shrinking takes the nearest
    pixel.

    Differences from the official code: that code trains its first step plainly; here the first step takes this batch
    itself for its past, with one more pass to predict it, so that every step has the same form. Edges of the box are
    rounded (see CutMix), where that code truncates. Labels older than 24 steps, which weigh less than 2**-23, are
    counted as the 24th. With label smoothing in the protocol the smoothed labels are mixed, as in that code.
    `lam_per: sample` draws one share and one box an image, which that code does not offer.

    Traps: the past is kept in buffers, so a resumed run goes on as if it had not stopped; a batch larger than the
    previous one starts anew. The layer for the box is used in training only. Shrinking changes what share of the
    pasted picture each older image has by the rounding of its outline, while labels keep their weights. The mean share
    kept is 0.816. RoIAlign's gradient adds in no fixed order on a GPU.
    """

    title = "RecursiveMix"
    paper = "Yang et al., RecursiveMix: Mixed Learning with History, NeurIPS 2022, arXiv 2203.06844"
    family = "input"
    venue = "NeurIPS 2022"
    mixes = "input"
    proved = "loops over images, pixels and soft labels in float64 over several steps, RoIAlign written out"
    past_images: Tensor
    past_labels: Tensor
    past_weights: Tensor
    past_predictions: Tensor

    def __init__(
        self,
        *,
        area: Annotated[float, Gt(0), Le(0.5)] = 0.5,
        omega: Annotated[float, Ge(0)] = 0.1,
        lam_per: Annotated[Literal["batch", "sample"], "neutral"] = "batch",
    ) -> None:
        super().__init__()
        self.area = area
        self.omega = omega
        self.lam_per = lam_per

    def setup(self, backbone: Backbone, task: Task) -> None:
        """Make the linear layer of the box and an empty history."""
        super().setup(backbone, task)
        self.region_head = cast(nn.Linear, nn.utils.skip_init(nn.Linear, backbone.width(), task.num_classes))
        generator = torch.Generator().manual_seed(Key("recursivemix head").integer())
        bound = backbone.width() ** -0.5
        for parameter in self.region_head.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        for name in HISTORY:
            self.register_buffer(name, torch.empty(0, dtype=torch.int64 if name == "past_labels" else torch.float32))

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """box: (4,) or (B, 4) int64 top, bottom, left, right, ends excluded."""
        generator = key.fold("share").generator()
        if self.lam_per == "sample":
            lam = torch.from_numpy(1 - generator.uniform(0, self.area, shape.size))
            return Draws(tensors={"box": draw_boxes(key, lam, shape.height, shape.width)})
        return Draws(tensors={"box": draw_box(key, 1 - generator.uniform(0, self.area), shape.height, shape.width)})

    def guide(self, backbone: Backbone, batch: Batch, draws: Draws) -> Mapping[str, Tensor]:
        """past_images (B, C, H, W); past_labels (24, B) int64, newest first, and their past_weights (24, B);
        past_predictions (B, K) probabilities.
        """
        (images,) = batch.views
        size = len(images)
        if self.past_images.shape[1:] == images.shape[1:] and len(self.past_images) >= size:
            past = (self.past_images[:size], self.past_labels[:, :size], self.past_weights[:, :size])
            return dict(zip(HISTORY, (*past, self.past_predictions[:size]), strict=True))
        with torch.no_grad(), backbone.probe():
            predictions = backbone(images).float().softmax(1)
        weights = torch.zeros(LABELS, size, device=images.device)
        weights[0] = 1
        return dict(zip(HISTORY, (images, batch.labels.repeat(LABELS, 1), weights, predictions), strict=True))

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """The mixed loss of one pass and the consistency of the box with the past prediction."""
        (images,) = batch.views
        box = draws["box"]
        height, width = images.shape[-2:]
        if self.lam_per == "sample":
            lam, inside = shares_outside(box, height, width), box_masks(box, height, width)
            past = nearest_into_each(draws["past_images"], box)
        else:
            lam, inside = share_outside(box, height, width), box_mask(box, height, width)
            past = nearest_into(draws["past_images"], box)
        mixed = torch.where(inside, past, images)
        labels = torch.cat([batch.labels[None], draws["past_labels"][:-1]])
        weights = pushed(draws["past_weights"], lam)

        features = backbone.features(mixed)
        logits = backbone.head(features)
        each = self.task.criterion(logits.repeat(LABELS, 1), labels.flatten()).view(labels.shape)
        classification = (weights * each).sum(0).mean()
        region = self.region_head(region_features(features.spatial, box, height, width))
        agreement = (draws["past_predictions"] * F.log_softmax(region.float(), 1)).sum(1)
        consistency = -agreement.mean()
        weighted = -((1 - lam) * agreement).mean() if self.lam_per == "sample" else (1 - lam) * consistency
        carry = {
            "past_images": mixed.detach(),
            "past_labels": labels,
            "past_weights": weights,
            "past_predictions": logits.detach().float().softmax(1),
        }
        losses = {"classification": classification.detach(), "consistency": consistency.detach()}
        return Loss(classification + self.omega * weighted, {"share_kept": lam.mean(), **losses}, carry)

    def remember(self, batch: Batch, carry: Mapping[str, Tensor]) -> None:
        """Keep what the next step pastes."""
        for name in HISTORY:
            setattr(self, name, carry[name].detach().clone())

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any, **kwargs: Any) -> None:
        for name in HISTORY:
            if prefix + name in state_dict:
                own = getattr(self, name)
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=own.device))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def pushed(weights: Tensor, lam: Tensor) -> Tensor:
    """Weights (n, B) of past labels after a new one of weight lam, () or (B,), came before them; the two oldest are
    joined."""
    older = (1 - lam) * weights
    oldest = older[-2:].sum(0, keepdim=True)
    return torch.cat([lam.expand(1, weights.shape[1]), older[:-2], oldest])


def region_features(features: Tensor, box: Tensor, height: int, width: int) -> Tensor:
    """RoIAlign of one box (4,), or of one an image (B, 4), in pixels of the image (height, width) on features
    (B, C, h, w): (B, C) float32.

    Bilinear samples on a regular grid of ceil(side) points a side of the box, in positions of the feature map, averaged
    (He et al. 2017, arXiv 1703.06870, section 3; pixel centres at half integers). An empty box gives zeros.
    """
    top, bottom, left, right = box.float().unbind(-1)
    down, along = features.shape[-2] / height, features.shape[-1] / width
    corners = torch.stack([left * along, top * down, right * along, bottom * down], -1)
    numbers = torch.arange(len(features), device=features.device, dtype=torch.float32)[:, None]
    boxes = torch.cat([numbers, corners.expand(len(features), 4)], 1)
    with torch.autocast(features.device.type, enabled=False):
        return roi_align(features.float(), boxes, output_size=1, aligned=True).flatten(1)
