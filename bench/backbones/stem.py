"""The small stem: a ResNet-like net for images of 64 px and below."""

from __future__ import annotations

from typing import Any

from torch import nn


def use_small_stem(model: nn.Module) -> bool:
    """Turn a ResNet-like stem into one of 3x3 convolutions at stride 1 without max-pool, in place.

    Works where timm has `conv1` and `maxpool` (resnet) or a `stem` with a `pool` (resnetv2). In a stem of one 7x7
    convolution this gives the CIFAR stem; a deep stem keeps its convolutions and loses their strides. New weights are
    drawn as He et al. do (fan out); those of pretrained models are lost where the kernel shrinks. Reductions in
    `feature_info` are corrected. False where the model has no such stem, and then nothing is changed.
    """
    children = dict(model.named_children())
    if {"conv1", "maxpool"} <= children.keys():
        parent, convolutions, pools = model, ["conv1"], ["maxpool"]
    elif {"pool"} <= (inner := dict(children.get("stem", nn.Identity()).named_children())).keys():
        parent, convolutions, pools = children["stem"], list(inner), ["pool", "pad"]
    else:
        return False
    removed = 1
    for name in pools:
        if name in dict(parent.named_children()):
            removed *= _stride(parent.get_submodule(name))
            setattr(parent, name, nn.Identity())
    removed *= _shrink_children(parent, convolutions)
    entries: Any = model.feature_info
    for entry in entries:
        entry["reduction"] = max(1, entry["reduction"] // removed)
    return True


def _stride(pool: nn.Module) -> int:
    product = 1
    for module in pool.modules():
        product *= _side(getattr(module, "stride", 1))
    return product


def _shrink_children(parent: nn.Module, names: list[str]) -> int:
    """Make every convolution under these children 3x3 (or smaller) at stride 1; the product of the lost strides."""
    lost = 1
    for name in names:
        child = parent.get_submodule(name)
        if isinstance(child, nn.Conv2d):
            lost *= _side(child.stride)
            setattr(parent, name, _small(child))
        else:
            lost *= _shrink_children(child, [inner for inner, _ in child.named_children()])
    return lost


def _small(conv: nn.Conv2d) -> nn.Conv2d:
    """The same convolution at stride 1; one with a kernel above 3 gives way to a 3x3 one of the same class."""
    if _side(conv.kernel_size) <= 3:
        conv.stride = (1, 1)
        return conv
    options: dict[str, Any] = {"kernel_size": 3, "stride": 1, "padding": 1, "bias": conv.bias is not None}
    small = type(conv)(conv.in_channels, conv.out_channels, **options)
    nn.init.kaiming_normal_(small.weight, mode="fan_out", nonlinearity="relu")
    return small


def _side(value: Any) -> int:
    return int(value[0]) if isinstance(value, tuple | list) else int(value)
