"""Every shipped backbone file builds at the resolution that it is meant for."""

from __future__ import annotations

import pytest

from bench.backbones.build import build_backbone
from bench.config.folders import ConfigFolders
from bench.config.sections import resolve_section

# name: resolution, positions per side after the first and the last stage
SIZES = {
    "convnext_tiny": (224, 56, 7),
    "preact_resnet18": (32, 32, 4),
    "preact_resnet10_narrow": (32, 32, 4),
    "preact_resnet18_narrow": (32, 32, 4),
    "resnet18_64": (64, 64, 8),
    "resnet18_cifar": (32, 32, 4),
    "resnet50": (224, 56, 7),
    "resnetv2_18_cifar": (32, 32, 4),
    "swin_tiny_patch4_window7_224": (224, 56, 7),
    "test_resnet": (32, 8, 1),
    "test_vit_patch8": (32, 4, 4),
    "vit_small_patch16_224": (224, 14, 14),
    "wrn_16_8": (32, 32, 8),
    "wrn_28_10": (32, 32, 8),
    "wrn_40_2": (32, 32, 8),
}


def test_every_file_is_listed_here() -> None:
    assert ConfigFolders().names("backbone") == sorted(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_the_file_builds(name: str) -> None:
    resolution, first, last = SIZES[name]
    resolved = resolve_section("backbone", name, "test", ConfigFolders(), [])
    backbone = build_backbone(resolved.spec, 10, 3, resolution, seed=0)
    assert backbone.grid(0) == (first, first)
    assert backbone.grid(-1) == (last, last)
    assert backbone.head_refusal is None
