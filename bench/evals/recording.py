"""The network as a method sees it, with a memory of the images that were given to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from methods.api import Edit, FeatureMap


class RecordingBackbone(nn.Module):
    """Does what `backbone` does and keeps the images of every pass that has no edit, in `passes`.

    backbone: a `methods.api.Backbone`. Attributes that are not defined here are the backbone's own.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone: Any = backbone
        self.passes: list[Tensor] = []

    def forward(self, images: Tensor, edit: Mapping[int, Edit] | None = None) -> Tensor:
        """Logits (B, K) of normalised images (B, C, H, W)."""
        if edit:
            return self.backbone(images, edit=edit)
        self.passes.append(images.detach())
        return self.backbone(images)

    def features(self, images: Tensor, stage: int = -1) -> FeatureMap:
        """The feature map after a stage; a pass without edit too."""
        self.passes.append(images.detach())
        return self.backbone.features(images, stage)

    def attention(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and the class token's attention; a pass without edit too."""
        self.passes.append(images.detach())
        return self.backbone.attention(images)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("backbone"), name)
