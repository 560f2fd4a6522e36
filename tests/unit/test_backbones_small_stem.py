"""The small stem: feature maps start at the images' own resolution, and only ResNet-like nets have it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.backbones.build import build_backbone
from bench.errors import BadInput
from bench.spec import BackboneSpec


def spec(name: str, small_stem: bool = True, **options: int | str | bool) -> BackboneSpec:
    return BackboneSpec(name=name, small_stem=small_stem, options=options)


@pytest.mark.parametrize(
    "name",
    ["resnet18", "resnetv2_18", "resnetv2_18d", "resnet10t", "test_resnet", "resnetblur18", "resnetv2_50x1_bit"],
)
def test_maps_start_at_full_resolution(name: str) -> None:
    backbone = build_backbone(spec(name), 5, 3, 32, seed=0)
    assert [backbone.grid(stage) for stage in range(4)] == [(32, 32), (16, 16), (8, 8), (4, 4)]
    assert [backbone.reduction(stage) for stage in range(4)] == [1, 2, 4, 8]
    assert backbone(torch.randn(2, 3, 32, 32)).shape == (2, 5)


def test_odd_sizes_keep_the_true_strides() -> None:
    backbone = build_backbone(spec("resnet18"), 5, 1, 28, seed=0)
    assert [backbone.grid(stage)[0] for stage in range(4)] == [28, 14, 7, 4]
    assert [backbone.reduction(stage) for stage in range(4)] == [1, 2, 4, 8]


def test_resnet18_has_one_plain_convolution_as_its_stem() -> None:
    model = build_backbone(spec("resnet18"), 10, 3, 32, seed=0).model
    conv = model.conv1
    assert type(conv) is nn.Conv2d
    assert conv.bias is None
    assert (conv.kernel_size, conv.stride, conv.padding) == ((3, 3), (1, 1), (1, 1))
    assert isinstance(model.maxpool, nn.Identity)
    assert sum(parameter.numel() for parameter in model.parameters()) == 11_173_962
    fan_out = conv.out_channels * 9
    assert float(conv.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)


def test_a_standardised_convolution_stays_one() -> None:
    before = build_backbone(spec("resnetv2_50x1_bit", small_stem=False), 5, 3, 32, seed=0).model.stem.conv
    after = build_backbone(spec("resnetv2_50x1_bit"), 5, 3, 32, seed=0).model.stem.conv
    assert type(after) is type(before)
    assert type(after) is not nn.Conv2d
    assert after.weight.shape == (64, 3, 3, 3)


def test_a_deep_stem_keeps_its_convolutions() -> None:
    large = build_backbone(spec("test_resnet", small_stem=False), 5, 3, 32, seed=0)
    small = build_backbone(spec("test_resnet"), 5, 3, 32, seed=0)
    assert all(torch.equal(left, right) for left, right in zip(large.parameters(), small.parameters(), strict=True))


@pytest.mark.parametrize("name", ["preact_resnet18", "wrn_40_2"])
def test_nets_that_have_it_already_accept_it(name: str) -> None:
    images = torch.randn(2, 3, 32, 32)
    backbones = [build_backbone(spec(name, flag, width=4), 5, 3, 32, seed=0).eval() for flag in (False, True)]
    assert torch.equal(backbones[0](images), backbones[1](images))


@pytest.mark.parametrize("name", ["convnext_atto", "test_vit", "test_efficientnet", "swin_tiny_patch4_window7_224"])
def test_other_nets_are_refused_in_one_line(name: str) -> None:
    with pytest.raises(BadInput, match=f"backbone.small_stem: {name} has no stem of strided convolution") as caught:
        build_backbone(spec(name), 5, 3, 32, seed=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "patch_size", "reductions"),
    [("convnext_atto", 1, [1, 2, 4, 8]), ("swin_tiny_patch4_window7_224", 2, [2, 4, 8, 16]), ("test_vit", 4, [4] * 4)],
)
def test_they_take_a_smaller_patch_instead(name: str, patch_size: int, reductions: list[int]) -> None:
    options = {"embed_dim": 24} if name.startswith("swin") else {}
    backbone = build_backbone(spec(name, small_stem=False, patch_size=patch_size, **options), 5, 3, 32, seed=0)
    assert [backbone.reduction(stage) for stage in range(4)] == reductions
    assert [backbone.grid(stage)[0] for stage in range(4)] == [32 // reduction for reduction in reductions]
