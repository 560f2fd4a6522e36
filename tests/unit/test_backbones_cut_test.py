"""The cut test finds skip paths around a stage, also those that start at weight zero, and passes ordinary nets."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bench.backbones.adapter import TimmBackbone
from bench.backbones.build import build_backbone
from bench.backbones.cut_test import check_stages, cut_test, trial_images
from bench.backbones.stages import StageRefused
from bench.spec import BackboneSpec


class Skipping(nn.Module):
    """Four convolutions in a row; `skip` times the output of the first one joins the output of the third one."""

    def __init__(self, skip: float) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 8, 3, 2, 1)
        self.two = nn.Conv2d(8, 8, 3, 2, 1)
        self.three = nn.Conv2d(8, 8, 3, 1, 1)
        self.norm = nn.BatchNorm2d(8)
        self.four = nn.Conv2d(8, 8, 3, 2, 1)
        self.gamma = nn.Parameter(torch.full((8, 1, 1), skip)) if skip >= 0 else None
        self.fc = nn.Linear(8, 5)
        widths = {"one": 2, "two": 4, "three": 4, "four": 8}
        self.feature_info = [{"module": name, "num_chs": 8, "reduction": size} for name, size in widths.items()]

    def forward_head(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        first = self.one(x)
        x = self.norm(self.three(self.two(first).relu())).relu()
        if self.gamma is not None:
            x = x + (self.gamma * first[:, :, ::2, ::2]).relu()
        return self.forward_head(self.four(x))


def skipping(skip: float) -> TimmBackbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TimmBackbone(Skipping(skip), 5, 3, 16)


@pytest.mark.parametrize("skip", [1.0, 1e-6, 0.0])
def test_a_path_around_stages_is_found_whatever_its_initial_weight(skip: float) -> None:
    backbone = skipping(skip)
    refused = check_stages(backbone)
    assert list(refused) == ["two", "three"]
    assert all("a path around this stage" in reason for reason in refused.values())
    images = torch.randn(2, 3, 16, 16)
    with pytest.raises(StageRefused, match=r"stage 1 \(two\) is refused: a path around"):
        backbone(images, {1: lambda features: features})
    assert backbone(images, {0: lambda features: features, 3: lambda features: features}).shape == (2, 5)


def test_the_same_net_without_the_path_passes() -> None:
    assert check_stages(skipping(-1)) == {}


def test_the_answer_is_remembered_and_the_backbone_untouched() -> None:
    backbone = skipping(0.0)
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    state = torch.random.get_rng_state()
    first = backbone.mixable(2)
    assert first == cut_test(skipping(0.0), 2, trial_images((3, 16, 16)))
    assert backbone.mixable(-2) is first
    assert backbone.training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


def test_a_classifier_at_zero_does_not_hide_the_path() -> None:
    backbone = skipping(1.0)
    nn.init.zeros_(backbone.model.fc.weight)
    assert "a path around" in str(backbone.mixable(1))
    assert backbone.mixable(3) is None


def test_a_model_that_ignores_its_images_cannot_be_judged() -> None:
    backbone = skipping(-1)
    reason = cut_test(backbone, 0, torch.ones(3, 3, 16, 16))
    assert reason is not None
    assert "hardly depend on the image" in reason


def test_stages_inside_residual_blocks_of_xception_are_refused() -> None:
    backbone = build_backbone(BackboneSpec(name="xception41"), 5, 3, 64, seed=0)
    assert list(check_stages(backbone)) == ["blocks.1.stack.act3", "blocks.2.stack.act3", "blocks.11.stack.act3"]


def test_parallel_branches_of_hrnet_are_refused() -> None:
    backbone = build_backbone(BackboneSpec(name="hrnet_w18_small"), 5, 3, 32, seed=0)
    refused = check_stages(backbone)
    assert "gives a list" in refused["stage2"]
    assert "not a module" in refused["stage1"]
    assert set(refused) == set(backbone.stages)
