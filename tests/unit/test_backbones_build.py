"""Building: weights from the seed alone, random state untouched, options passed on, every mistake one clear line."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import timm
import torch
from timm.layers import DropPath

from bench.backbones import build
from bench.backbones.build import build_backbone
from bench.errors import BadInput
from bench.spec import BackboneSpec

SWIN = "swin_tiny_patch4_window7_224"


def spec(name: str, **keys: Any) -> BackboneSpec:
    return BackboneSpec(name=name, **keys)


@pytest.mark.parametrize(
    "keys", [{"name": "test_resnet"}, {"name": "test_vit"}, {"name": "resnetv2_18", "small_stem": True}]
)
def test_weights_come_from_the_seed_alone(keys: dict[str, Any]) -> None:
    first = build_backbone(spec(**keys), 5, 3, 32, seed=3)
    torch.rand(7)
    second = build_backbone(spec(**keys), 5, 3, 32, seed=3)
    other = build_backbone(spec(**keys), 5, 3, 32, seed=4)
    weights = first.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in second.state_dict().items())
    differing = [key for key, value in other.state_dict().items() if not torch.equal(value, weights[key])]
    assert len(differing) > len(weights) // 10


def test_global_random_states_stay() -> None:
    torch.manual_seed(11)
    before = (torch.random.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())  # noqa: NPY002
    build_backbone(spec("preact_resnet18", options={"width": 4}), 5, 3, 16, seed=0)
    build_backbone(spec("resnet18", small_stem=True), 5, 3, 32, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
    assert random.getstate() == before[2]


def test_a_fresh_backbone_is_in_train_mode_with_fresh_statistics() -> None:
    backbone = build_backbone(spec("test_resnet"), 5, 3, 32, seed=0)
    assert all(module.training for module in backbone.modules())
    reference = timm.create_model("test_resnet", num_classes=5)
    for (name, buffer), (_, expected) in zip(backbone.model.named_buffers(), reference.named_buffers(), strict=True):
        assert torch.equal(buffer, expected), name


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_maxvit", "wrn_16_8"])
def test_channels_classes_and_resolution(name: str) -> None:
    options = {"width": 2} if name.startswith("wrn") else {}
    backbone = build_backbone(spec(name, options=options), 7, 1, 64, seed=0)
    assert backbone(torch.randn(2, 1, 64, 64)).shape == (2, 7)
    assert backbone.num_classes == 7
    assert backbone.input_shape == (1, 64, 64)


def test_models_of_fixed_size_are_made_for_the_resolution() -> None:
    vit = build_backbone(spec("test_vit"), 5, 3, 64, seed=0)
    assert vit.model.pos_embed.shape[1] == 4 * 4 + 1
    own = build_backbone(spec("test_vit", options={"img_size": 64, "patch_size": 8}), 5, 3, 64, seed=0)
    assert own.grid(-1) == (8, 8)
    assert own.reduction() == 8


def test_dropout_and_drop_path_reach_the_model() -> None:
    backbone = build_backbone(spec("test_vit", drop_path=0.2, dropout=0.1), 5, 3, 32, seed=0)
    assert backbone.model.blocks[-1].drop_path1.drop_prob == pytest.approx(0.2)
    assert backbone.model.head_drop.p == pytest.approx(0.1)
    wide = build_backbone(spec("wrn_16_8", dropout=0.3, options={"width": 2}), 5, 3, 16, seed=0)
    assert wide.model.layer2[0].dropout.p == pytest.approx(0.3)


def test_no_drop_path_means_none_whatever_the_model_defaults_to() -> None:
    assert any(isinstance(module, DropPath) for module in timm.create_model(SWIN, embed_dim=24).modules())
    backbone = build_backbone(spec(SWIN, options={"embed_dim": 24}), 5, 3, 32, seed=0)
    assert not any(isinstance(module, DropPath) for module in backbone.modules())
    some = build_backbone(spec(SWIN, drop_path=0.3, options={"embed_dim": 24}), 5, 3, 32, seed=0)
    assert max(module.drop_prob for module in some.modules() if isinstance(module, DropPath)) == pytest.approx(0.3)


MISTAKES: list[tuple[dict[str, Any], int, str]] = [
    ({"name": "resnet81"}, 32, r"backbone\.name: timm has no model 'resnet81'; did you mean 'resnet\w+'\?"),
    ({"name": "preact_resnet81"}, 32, "did you mean 'preact_resnet18'"),
    ({"name": "resnet18.no_such_tag"}, 32, "backbone.options: timm cannot build resnet18.no_such_tag: Invalid"),
    ({"name": "test_resnet", "options": {"widht": 3}}, 32, r"backbone\.options\.widht: test_resnet takes no 'widht'"),
    ({"name": "preact_resnet18", "dropout": 0.1}, 32, r"backbone\.dropout: preact_resnet18 takes no 'drop_rate'"),
    ({"name": "vgg11", "drop_path": 0.1}, 32, r"backbone\.drop_path: vgg11 takes no 'drop_path_rate'"),
    ({"name": "test_resnet", "options": {"img_size": 32}}, 32, r"backbone\.options\.img_size: test_resnet takes no"),
    ({"name": "test_resnet", "options": {"act_layer": "no_such"}}, 32, r"backbone\.options: timm cannot build"),
    ({"name": "test_vit"}, 8, r"backbone\.name: test_vit cannot take 3x8x8 images"),
    ({"name": "preact_resnet18", "pretrained": True}, 32, "backbone.pretrained: no weights for preact_resnet18"),
    ({"name": "preact_resnet18", "options": {"depth": 3}}, 32, r"backbone\.options\.depth: preact_resnet18 takes no"),
]


@pytest.mark.parametrize(("keys", "resolution", "message"), MISTAKES, ids=range(len(MISTAKES)))
def test_mistakes_are_one_clear_line(keys: dict[str, Any], resolution: int, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        build_backbone(spec(**keys), 5, 3, resolution, seed=0)
    assert "\n" not in str(caught.value)


def test_a_failed_download_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def offline(name: str, pretrained: bool = False, **arguments: Any) -> torch.nn.Module:
        if pretrained:
            raise ConnectionError("the hub cannot be reached\nand more lines")
        return create(name, **arguments)

    monkeypatch.setattr(build.timm, "create_model", offline)
    with pytest.raises(BadInput) as caught:
        build_backbone(spec("test_resnet", pretrained=True), 5, 3, 32, seed=0)
    assert str(caught.value) == "backbone.pretrained: no weights for test_resnet: the hub cannot be reached"


def test_pretrained_weights_are_the_ones_that_timm_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def loaded(name: str, pretrained: bool = False, **arguments: Any) -> torch.nn.Module:
        model = create(name, **arguments)
        if pretrained:
            torch.nn.init.constant_(model.get_parameter("layer1.0.conv1.weight"), 0.25)
        return model

    monkeypatch.setattr(build.timm, "create_model", loaded)
    backbone = build_backbone(spec("test_resnet", pretrained=True, small_stem=True), 5, 3, 32, seed=0)
    assert (backbone.model.get_parameter("layer1.0.conv1.weight") == 0.25).all()
