"""The adapter on one small model of every family: features, edits and head against timm's own code."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.backbones.adapter import TimmBackbone
from bench.backbones.build import build_backbone
from bench.backbones.cut_test import check_stages
from bench.spec import BackboneSpec
from methods.api import FeatureMap

# name: resolution, other keys of the spec, stages
FAMILIES: dict[str, tuple[int, dict[str, Any], tuple[str, ...]]] = {
    "resnet18": (32, {"small_stem": True}, ("layer1", "layer2", "layer3", "layer4")),
    "resnetv2_18": (32, {"small_stem": True}, ("stages.0", "stages.1", "stages.2", "stages.3")),
    "preact_resnet18": (32, {"options": {"width": 8}}, ("layer1", "layer2", "layer3", "layer4")),
    "wrn_16_8": (32, {"options": {"width": 2}}, ("layer1", "layer2", "layer3")),
    "test_resnet": (32, {}, ("layer1", "layer2", "layer3", "layer4")),
    "convnext_atto": (32, {}, ("stages.0", "stages.1", "stages.2", "stages.3")),
    "test_vit": (64, {}, ("blocks.0", "blocks.2", "blocks.3", "blocks.5")),
    "vit_tiny_patch16_224": (32, {"options": {"patch_size": 8}}, ("blocks.2", "blocks.5", "blocks.8", "blocks.11")),
    "swin_tiny_patch4_window7_224": (
        64,
        {"options": {"embed_dim": 24}},
        ("layers.0", "layers.1", "layers.2", "layers.3"),
    ),
    "mobilenetv4_conv_small_050": (64, {}, ("blocks.0", "blocks.1", "blocks.2", "blocks.4")),
    "test_efficientnet": (64, {}, ("blocks.1", "blocks.2", "blocks.3", "blocks.4")),
    "test_coatnet": (64, {}, ("stages.0", "stages.1", "stages.2", "stages.3")),
    "test_maxvit": (64, {}, ("stages.0", "stages.1", "stages.2", "stages.3")),
    "test_mambaout": (64, {}, ("stages.0", "stages.1", "stages.2", "stages.3")),
    "test_nfnet": (64, {}, ("stages.0", "stages.1", "stages.2", "final_conv")),
}
TOKENS = ("test_vit", "vit_tiny_patch16_224")
CHANNELS_LAST = ("swin_tiny_patch4_window7_224", "test_mambaout")


def built(name: str) -> tuple[TimmBackbone, Tensor]:
    resolution, keys, _ = FAMILIES[name]
    backbone = build_backbone(BackboneSpec(name=name, **keys), 7, 3, resolution, seed=0).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return backbone, torch.randn(3, 3, resolution, resolution, generator=torch.Generator().manual_seed(2))


class Mixed(nn.Module):
    """A stage whose output is mixed in the model's own layout, put in the stage's place: edits without hooks."""

    def __init__(self, stage: nn.Module, lam: float, order: list[int]) -> None:
        super().__init__()
        self.stage, self.lam, self.order = stage, lam, order

    def forward(self, *inputs: Any) -> Tensor:
        output = self.stage(*inputs)
        return self.lam * output + (1 - self.lam) * output[self.order]


def replace(model: nn.Module, path: str, lam: float, order: list[int]) -> None:
    parent, _, leaf = path.rpartition(".")
    owner = model.get_submodule(parent)
    wrapped = Mixed(owner.get_submodule(leaf), lam, order)
    if isinstance(owner, nn.Sequential):
        owner[int(leaf)] = wrapped
    else:
        setattr(owner, leaf, wrapped)


@pytest.fixture(scope="module", params=FAMILIES, ids=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> tuple[str, TimmBackbone, Tensor]:
    backbone, images = built(request.param)
    return request.param, backbone, images


@torch.no_grad()
def test_stages_sizes_and_layouts(family: tuple[str, TimmBackbone, Tensor]) -> None:
    name, backbone, images = family
    assert backbone.stages == FAMILIES[name][2]
    for index, stage in enumerate(backbone.stages):
        seen: list[Tensor] = []
        module = backbone.model.get_submodule(stage)
        handle = module.register_forward_hook(lambda _module, _inputs, output, seen=seen: seen.append(output))
        backbone(images)
        handle.remove()
        native, features = seen[0], backbone.features(images, index)
        assert features.spatial.shape[1] == backbone.width(index)
        assert features.spatial.shape[2:] == backbone.grid(index)
        assert -(-images.shape[-1] // backbone.reduction(index)) == features.spatial.shape[2]
        if name in TOKENS:
            assert features.prefix is not None
            assert torch.equal(features.prefix, native[:, :1])
            side = features.spatial.shape[-1]
            for row in range(side):
                for column in range(side):
                    assert torch.equal(features.spatial[:, :, row, column], native[:, 1 + row * side + column])
        else:
            expected = native.movedim(-1, 1) if name in CHANNELS_LAST else native
            assert features.prefix is None
            assert torch.equal(features.spatial, expected)


@torch.no_grad()
def test_an_edit_is_the_mix_inside_the_model(family: tuple[str, TimmBackbone, Tensor]) -> None:
    _name, backbone, images = family
    lam, order = 0.3, [2, 0, 1]

    def mix(features: FeatureMap) -> FeatureMap:
        spatial, prefix = features
        mixed = None if prefix is None else lam * prefix + (1 - lam) * prefix[order]
        return FeatureMap(lam * spatial + (1 - lam) * spatial[order], mixed)

    plain = backbone(images)
    for index, stage in enumerate(backbone.stages):
        changed = copy.deepcopy(backbone.model)
        replace(changed, stage, lam, order)
        expected = changed(images)
        actual = backbone(images, {index - len(backbone.stages): mix})
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
        assert (actual - plain).abs().max() > 1e-3
    torch.testing.assert_close(backbone(images), plain, rtol=0, atol=0)


@torch.no_grad()
def test_head_of_the_last_features_is_the_forward_pass(family: tuple[str, TimmBackbone, Tensor]) -> None:
    _, backbone, images = family
    features = backbone.features(images)
    kept = features.spatial.clone()
    torch.testing.assert_close(backbone.head(features), backbone(images), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(features.spatial, kept, rtol=0, atol=0)
    swapped = FeatureMap(features.spatial.roll(1, 0), None if features.prefix is None else features.prefix.roll(1, 0))
    torch.testing.assert_close(backbone.head(swapped), backbone(images).roll(1, 0), rtol=1e-4, atol=1e-5)
    assert (backbone.head(swapped) - backbone(images)).abs().max() > 1e-3


def test_gradients_pass_through_an_edit_and_through_the_head(family: tuple[str, TimmBackbone, Tensor]) -> None:
    _, backbone, images = family
    backbone.zero_grad()
    edited = backbone(images, {0: lambda features: features._replace(spatial=features.spatial.flip(0))})
    edited.square().sum().backward()
    through_edit = [parameter.grad is not None for parameter in backbone.parameters()]
    assert all(through_edit)
    backbone.zero_grad()
    backbone.head(backbone.features(images)).square().sum().backward()
    assert [parameter.grad is not None for parameter in backbone.parameters()] == through_edit


def test_every_stage_cuts_the_network(family: tuple[str, TimmBackbone, Tensor]) -> None:
    _, backbone, _ = family
    assert check_stages(backbone) == {}
