"""SnapMix: a resized box of a partner pasted in, and labels weighted by how much of the classes' evidence is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor
from torch.nn import functional

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, Task
from methods.ops.box_resize import resized_into
from methods.ops.boxes import NO_BOX, box_mask, draw_box
from methods.ops.class_maps import class_maps
from methods.ops.keys import Key
from methods.ops.mixing import draw_lam, draw_permutation

ROUNDING = 1e-5
"""Contrast of a map relative to its largest size that counts as none."""


class SnapMix(Method):
    """Train on images with a resized box of a partner, with label weights from class activation maps.

    Definition: two boxes a batch, each with lam ~ Beta(alpha, alpha) of its own, sides sqrt(1 - lam) times height and
    width and a centre uniform over the image, clipped at the border. The partner's second box is resized bilinearly
    (corners aligned) to the size of the first and pasted there. An image's semantic percent map is the class activation
    map of its label, enlarged bilinearly to the image, minus its smallest value, divided by its sum (Huang et al.). The
    weight of an image's own label is 1 minus the sum of its map inside the first box, that of the partner's label the
    sum of the partner's map inside the second box. The two need not sum to 1.
    The loss is the mean of own weight * L(logits, y) + partner's weight * L(logits, y[permutation]).

    Defaults: alpha 5.0 and probability 1.0, the official code's for fine-tuning; it has 0.5 for training from scratch.

    Differences from the official code: that code adds the two weights for a pair of equal labels and then uses the sum
    twice, which doubles that pair's loss; here such a pair is like any other. Maps come
    from the network in training with BatchNorm's running statistics left alone, where that code updates them twice a
    step. They are weighted by the gradient of the logit, which is that code's map where average pooling and a linear
    layer follow the last stage, and defined where a norm stands between. Boxes are those of this CutMix. A map without
    any contrast counts every pixel alike. The second head on middle features of some of its models is left out.

    Traps: one more forward pass a step. The maps of a network at the start of training know nothing of classes. A class
    token hides the positions from the logits, so such transformers are refused.
    """

    title = "SnapMix"
    paper = (
        "Huang et al., SnapMix: Semantically Proportional Mixing for Augmenting Fine-grained Data, AAAI 2021, "
        "arXiv 2012.04846"
    )
    family = "saliency"
    venue = "AAAI 2021"
    mixes = "input"
    proved = "a loop over images with CAM from the head's weights, torch's resize of each box, the mean share at no map"

    def __init__(
        self,
        *,
        alpha: Annotated[float, Ge(0)] = 5.0,
        probability: Annotated[float, Ge(0), Le(1)] = 1.0,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.probability = probability

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """box, source: (4,) int64 top, bottom, left, right, ends excluded, both empty or none. permutation: (B,) int64.

        box is where an image is pasted over, source where its partner is cut.
        """
        boxes = [torch.tensor(NO_BOX)] * 2
        if key.fold("apply").generator().random() < self.probability:
            keys = (key, key.fold("source"))
            drawn = [draw_box(each, draw_lam(each, self.alpha).item(), shape.height, shape.width) for each in keys]
            if all(_area(box) > 0 for box in drawn):
                boxes = drawn
        permutation = draw_permutation(key, shape.size)
        return Draws(tensors={"box": boxes[0], "source": boxes[1], "permutation": permutation})

    def guide(self, backbone: Backbone, batch: Batch, draws: Draws) -> Mapping[str, Tensor]:
        """own, partner: (B,) float32 in [0, 1], the weights of the image's own and its partner's label."""
        (images,) = batch.views
        with backbone.probe():
            maps = class_maps(backbone, images, batch.labels)
        size = (images.shape[-2], images.shape[-1])
        return {
            "own": 1 - share_inside(maps, draws["box"], size),
            "partner": share_inside(maps, draws["source"], size)[draws["permutation"]],
        }

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """The loss of one pass over the pasted images under both labels."""
        (images,) = batch.views
        permutation, own, partner = draws["permutation"], draws["own"], draws["partner"]
        pasted = resized_into(images[permutation], draws["source"], draws["box"])
        inside = box_mask(draws["box"], images.shape[-2], images.shape[-1])
        logits = backbone(torch.where(inside, pasted, images))
        criterion = self.task.criterion
        total = own * criterion(logits, batch.labels) + partner * criterion(logits, batch.labels[permutation])
        return Loss(total.mean(), {"share_kept": own.mean(), "label_sum": (own + partner).mean()})

    def skip(self, backbone: Backbone, task: Task) -> str | None:
        """Maps of one position, and networks whose logits do not depend on the positions of the last map."""
        device = next(iter(backbone.parameters())).device
        images = torch.linspace(-1, 1, 2 * torch.Size(task.input_shape).numel(), device=device)
        with torch.random.fork_rng([device] if device.type == "cuda" else []), backbone.probe():
            labels = torch.zeros(2, dtype=torch.long, device=device)
            maps = class_maps(backbone, images.view(2, *task.input_shape), labels)
        if maps[0].numel() == 1:
            return "the last map is 1x1, so class activation maps have nothing to tell apart"
        if not maps.any():
            return "the logits do not depend on the positions of the last map, so there is no class activation map"
        return None


def share_inside(maps: Tensor, box: Tensor, size: tuple[int, int]) -> Tensor:
    """Share (B,) float32 in [0, 1] of the semantic percent maps that lies inside a box (4,).

    maps: (B, h, w) float32, class activation maps. size: height and width of the images.
    """
    enlarged = functional.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    evidence = enlarged - enlarged.amin((1, 2), keepdim=True)
    rounding = ROUNDING * enlarged.abs().amax((1, 2), keepdim=True)
    percent = torch.where(evidence.amax((1, 2), keepdim=True) > rounding, evidence, 1)
    inside = box_mask(box, size[0], size[1])
    return (percent * inside).sum((1, 2)) / percent.sum((1, 2))


def _area(box: Tensor) -> int:
    top, bottom, left, right = box.tolist()
    return (bottom - top) * (right - left)
