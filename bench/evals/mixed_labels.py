"""Which images a method gives to the network in one step, and with which label weights it trains on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from methods.api import Batch, BatchShape, Draws, Edit, FeatureMap, Method, Normalise, guided
from methods.ops.keys import Key


class Pass(NamedTuple):
    """One pass through the network in one step.

    images: (P, C, H, W) normalised, as given to the network. edited: whether its features are changed on the way.
    weights: (P, K) float32, the weight of each class in the loss of each image; a row sums to the share of the step's
    loss that this image has, times the batch size (1 where every image counts once, 0.5 each where there are two
    passes of equal weight, 0 where the label is not used).
    """

    images: Tensor
    edited: bool
    weights: Tensor

    def targets(self) -> Tensor:
        """The soft label of each image (P, K), rows summing to 1; rows of zeros where the label is not used."""
        return self.weights / self.weights.sum(1, keepdim=True).clamp_min(1e-12)


class TaggingBackbone(nn.Module):
    """Stands in for `backbone`; its logits only tell which image of which pass they belong to.

    The network itself runs only where features are edited or asked for. Attributes that are not defined here are its
    own.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone: Any = backbone
        self.passes: list[tuple[Tensor, bool]] = []

    def forward(self, images: Tensor, edit: Mapping[int, Edit] | None = None) -> Tensor:
        """Tags in place of logits (B, K)."""
        if edit:
            self.backbone(images, edit=edit)
        return self._tags(images, bool(edit))

    def features(self, images: Tensor, stage: int = -1) -> FeatureMap:
        """The backbone's features; their images are those of the next `head`."""
        self._seen = images
        return self.backbone.features(images, stage)

    def head(self, features: FeatureMap) -> Tensor:
        """Tags for the images whose features were asked for last."""
        return self._tags(self._seen, True)

    def attention(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Tags in place of logits, and the backbone's own attention."""
        return self._tags(images, False), self.backbone.attention(images)[1]

    def _tags(self, images: Tensor, edited: bool) -> Tensor:
        first = sum(len(seen) for seen, _ in self.passes)
        self.passes.append((images.detach(), edited))
        tags = torch.zeros(len(images), self.backbone.num_classes, device=images.device)
        tags[:, 0] = torch.arange(first, first + len(images), dtype=torch.float32)
        return tags

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("backbone"), name)


class Step(NamedTuple):
    """What one step showed: its passes, its draws and the share kept that the method reports (None: none)."""

    passes: list[Pass]
    draws: Draws
    share_kept: float | None


def labelled_step(
    backbone: nn.Module, method: Method, images: Tensor, labels: Tensor, normalise: Normalise, key: Key,
    progress: float = 0.5, permutation: Tensor | None = None,
) -> Step:  # fmt: skip
    """One step of a method that is set up for `backbone`, its label weights read off the loss by its gradient.

    images uint8 (B, C, H, W), labels (B,) int64. The loss is linear in what the criterion returns, so the derivative
    by the criterion's value for one image and label is that label's weight. Rows that the criterion is asked about
    but that are not one image's logits (a teacher's, mixes of logits) count for no image. Draws come from `key`
    alone, but for the partners where a `permutation` (B,) is given and the method draws one of that shape.
    """
    drawn = method.draw(key, BatchShape(*images.shape, progress=progress))
    tensors = {name: value.to(images.device) for name, value in drawn.tensors.items()}
    if permutation is not None and "permutation" in tensors and tensors["permutation"].shape == permutation.shape:
        tensors["permutation"] = permutation
    draws = Draws(drawn.branch, tensors)
    with torch.no_grad():
        batch = Batch(method.views(images, normalise, draws), labels)
    told = guided(method, cast("Any", backbone), batch, draws)
    asked: list[tuple[Tensor, Tensor, Tensor]] = []

    def criterion(logits: Tensor, wanted: Tensor) -> Tensor:
        value = torch.ones(len(logits), device=logits.device, requires_grad=True)
        asked.append((_tagged(logits.detach()), wanted, value))
        return value.clone()

    tagging = TaggingBackbone(backbone)
    task = method.task
    method.task = task._replace(criterion=criterion)
    try:
        loss = method.loss(cast("Any", tagging), batch, told)
    finally:
        method.task = task
    values = [value for _, _, value in asked]
    found = torch.autograd.grad(loss.total, values, allow_unused=True) if values else ()
    count = sum(len(seen) for seen, _ in tagging.passes)
    weights = torch.zeros(count, task.num_classes, device=images.device)
    for (rows, wanted, _), gradient in zip(asked, found, strict=True):
        if gradient is not None:
            known = rows >= 0
            weights.index_put_((rows[known], wanted[known]), gradient[known] * len(images), accumulate=True)
    parts = weights.split([len(seen) for seen, _ in tagging.passes])
    passes = [Pass(seen, edited, part) for (seen, edited), part in zip(tagging.passes, parts, strict=True)]
    share = loss.parts.get("share_kept")
    return Step(passes, draws, None if share is None else float(share))


def _tagged(logits: Tensor) -> Tensor:
    """The number of the image that each row (B, K) tags, (B,) int64; -1 for what is no tag: another network's logits,
    or a mix of several images' logits."""
    tags = logits[:, 0]
    known = (tags == tags.round()) & (tags >= 0) & (logits[:, 1:] == 0).all(1)
    return torch.where(known, tags, -1.0).long()
