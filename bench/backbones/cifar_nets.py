"""Small nets of the mixing literature that timm does not have, registered with timm: PreAct ResNet-18 and WRNs.

All take images of any size from 8 px on and begin with a 3x3 convolution at stride 1. Convolutions are initialised
after He et al. 2015 (normal, fan out), norms at 1 and 0. There are no pretrained weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from timm.models import register_model
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["CifarNet", "PreActBlock"]


class PreActBlock(nn.Module):
    """Two 3x3 convolutions, each after BatchNorm and ReLU (He et al. 2016, "Identity Mappings", figure 1b).

    Where shape changes, the shortcut is a 1x1 convolution of the activated input. dropout: between the convolutions.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride), rounded up."""
        active = functional.relu(self.norm1(x))
        kept = x if self.shortcut is None else self.shortcut(active)
        out = self.conv1(active)
        out = self.conv2(self.dropout(functional.relu(self.norm2(out))))
        return out + kept


class CifarNet(nn.Module):
    """A 3x3 convolution, stages of PreActBlocks called layer1, layer2, ..., pooling and a linear classifier.

    widths: channels of the stem and of each stage; the first stage keeps the resolution, each later one halves it.
    final_norm: BatchNorm and ReLU between the last stage and the pooling.
    """

    def __init__(
        self,
        widths: Sequence[int],
        blocks: int,
        final_norm: bool,
        num_classes: int = 1000,
        in_chans: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_features = widths[-1]
        self.conv1 = nn.Conv2d(in_chans, widths[0], 3, 1, 1, bias=False)
        self.feature_info: list[dict[str, Any]] = []
        for index, (inputs, outputs) in enumerate(pairwise(widths)):
            name, first_stride = f"layer{index + 1}", 1 if index == 0 else 2
            sizes = [inputs] + [outputs] * blocks
            strides = [first_stride] + [1] * (blocks - 1)
            layer = [PreActBlock(*shape, dropout) for shape in zip(sizes, sizes[1:], strides, strict=False)]
            self.add_module(name, nn.Sequential(*layer))
            self.feature_info.append({"num_chs": outputs, "reduction": 2**index, "module": name})
        last = [nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True)] if final_norm else []
        self.norm = nn.Sequential(*last)
        self.fc = nn.Linear(widths[-1], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, x: Tensor) -> Tensor:
        """The last map (B, C, H, W), after the final norm where there is one."""
        x = self.conv1(x)
        for entry in self.feature_info:
            x = self.get_submodule(entry["module"])(x)
        return self.norm(x)

    def forward_head(self, x: Tensor) -> Tensor:
        """Global average pooling and the classifier: (B, C, H, W) to (B, num_classes)."""
        return self.fc(x.mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, in_chans, H, W) to logits (B, num_classes)."""
        return self.forward_head(self.forward_features(x))


def _without_weights(name: str, pretrained: bool, timm_extras: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments without those that timm adds for pretrained weights."""
    if pretrained:
        raise RuntimeError(f"{name} has no pretrained weights")
    own = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
    return {key: value for key, value in timm_extras.items() if key not in own}


def _wide_resnet(name: str, depth: int, factor: int, pretrained: bool, options: dict[str, Any]) -> CifarNet:
    options = _without_weights(name, pretrained, options)
    width = options.pop("width", 16)
    options["dropout"] = options.pop("drop_rate", 0.0)
    widths = (width, factor * width, 2 * factor * width, 4 * factor * width)
    return CifarNet(widths, blocks=(depth - 4) // 6, final_norm=True, **options)


@register_model
def preact_resnet10(pretrained: bool = False, width: int = 64, **options: Any) -> CifarNet:
    """`preact_resnet18` with one block a stage instead of two: 4.9 M weights for 10 classes, for studies on a CPU."""
    options = _without_weights("preact_resnet10", pretrained, options)
    widths = (width, width, 2 * width, 4 * width, 8 * width)
    return CifarNet(widths, blocks=1, final_norm=False, **options)


@register_model
def preact_resnet18(pretrained: bool = False, width: int = 64, **options: Any) -> CifarNet:
    """PreAct ResNet-18 in the form of the Manifold Mixup and AlignMix experiments: 11.17 M weights for 10 classes.

    Stages of 64, 128, 256 and 512 channels. No norm or ReLU follows the last stage: only global average pooling and
    a linear layer come after a mix there. Some other versions, and timm's resnetv2, have a final norm.
    width: channels of the first stage (64 in the papers).
    """
    options = _without_weights("preact_resnet18", pretrained, options)
    widths = (width, width, 2 * width, 4 * width, 8 * width)
    return CifarNet(widths, blocks=2, final_norm=False, **options)


@register_model
def wrn_16_8(pretrained: bool = False, **options: Any) -> CifarNet:
    """Wide ResNet of depth 16 and widening 8 (Zagoruyko and Komodakis 2016): 11.0 M weights for 10 classes.

    Three stages, then BatchNorm and ReLU. drop_rate: dropout inside the blocks, as in the paper. width: channels of
    the stem (16 in the paper); the stages have 8, 16 and 32 times as many.
    """
    return _wide_resnet("wrn_16_8", 16, 8, pretrained, options)


@register_model
def wrn_28_10(pretrained: bool = False, **options: Any) -> CifarNet:
    """Wide ResNet of depth 28 and widening 10: 36.5 M weights for 10 classes. Otherwise as `wrn_16_8`."""
    return _wide_resnet("wrn_28_10", 28, 10, pretrained, options)


@register_model
def wrn_40_2(pretrained: bool = False, **options: Any) -> CifarNet:
    """Wide ResNet of depth 40 and widening 2, the net of AugMix: 2.2 M weights for 10 classes. See `wrn_16_8`."""
    return _wide_resnet("wrn_40_2", 40, 2, pretrained, options)
