from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.backbones.adapter import TimmBackbone
from bench.backbones.cifar_nets import CifarNet
from bench.evals.recording import RecordingBackbone
from methods.api import FeatureMap

IMAGES = torch.rand(2, 3, 8, 8)


def backbone() -> TimmBackbone:
    return TimmBackbone(CifarNet((4, 4, 6), 1, False, 5), 5, 3, 8).eval()


def zeroed(features: FeatureMap) -> FeatureMap:
    return FeatureMap(torch.zeros_like(features.spatial), features.prefix)


def test_edits_reach_the_network_and_are_not_recorded() -> None:
    inner = backbone()
    recording = RecordingBackbone(inner)
    torch.testing.assert_close(recording(IMAGES, edit={-1: zeroed}), inner.model.fc.bias.expand(2, 5))
    assert recording.passes == []
    torch.testing.assert_close(recording(IMAGES), inner(IMAGES))
    torch.testing.assert_close(recording(IMAGES, edit={}), inner(IMAGES))
    assert [torch.equal(seen, IMAGES) for seen in recording.passes] == [True, True]


def test_features_are_recorded_and_the_rest_is_the_networks_own() -> None:
    inner = backbone()
    recording = RecordingBackbone(inner)
    features = recording.features(IMAGES)
    assert len(recording.passes) == 1
    torch.testing.assert_close(recording.head(features), inner(IMAGES))
    assert recording.width() == inner.width()
    assert recording.stages == inner.stages
    assert {id(parameter) for parameter in recording.parameters()} == {id(each) for each in inner.parameters()}


def test_any_module_can_be_recorded_and_a_missing_attribute_is_an_error() -> None:
    class Plain(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.sum(dim=(1, 2, 3))[:, None]

    recording = RecordingBackbone(Plain())
    assert recording(IMAGES).shape == (2, 1)
    assert not hasattr(recording, "stages")
