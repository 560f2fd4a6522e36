"""The registered nets against the literature's sizes and against straight-line calculations with bare functions."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor
from torch.nn import functional

import bench.backbones.cifar_nets  # noqa: F401  registers the nets

WEIGHTS = {
    "preact_resnet18": (11_171_146, 0.05),
    "wrn_16_8": (11.0e6, 0.05e6),
    "wrn_28_10": (36.5e6, 0.05e6),
    "wrn_40_2": (2.2e6, 0.05e6),
}
"""Published numbers of weights for CIFAR-10: 11.17 M, and the Wide ResNet paper's 11.0 M, 36.5 M and 2.2 M."""

Weights = dict[str, Tensor]


def batch_norm(x: Tensor, weights: Weights, name: str) -> Tensor:
    """By the definition, with the running statistics."""
    mean, variance, scale, shift = (
        weights[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + 1e-5).sqrt() * scale + shift


def block(x: Tensor, weights: Weights, name: str, stride: int) -> Tensor:
    active = batch_norm(x, weights, f"{name}.norm1").clamp(min=0)
    kept = x
    if f"{name}.shortcut.weight" in weights:
        kept = functional.conv2d(active, weights[f"{name}.shortcut.weight"], stride=stride)
    y = functional.conv2d(active, weights[f"{name}.conv1.weight"], stride=stride, padding=1)
    y = batch_norm(y, weights, f"{name}.norm2").clamp(min=0)
    return functional.conv2d(y, weights[f"{name}.conv2.weight"], padding=1) + kept


def straight_line(x: Tensor, weights: Weights, blocks: list[int], final_norm: bool) -> Tensor:
    y = functional.conv2d(x, weights["conv1.weight"], padding=1)
    for stage, count in enumerate(blocks, start=1):
        for number in range(count):
            y = block(y, weights, f"layer{stage}.{number}", stride=2 if stage > 1 and number == 0 else 1)
    if final_norm:
        y = batch_norm(y, weights, "norm.0").clamp(min=0)
    pooled = y.flatten(2).sum(2) / (y.shape[2] * y.shape[3])
    return pooled @ weights["fc.weight"].T + weights["fc.bias"]


@pytest.mark.parametrize("name", WEIGHTS)
def test_number_of_weights_is_the_published_one(name: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=10)
    published, tolerance = WEIGHTS[name]
    assert abs(sum(parameter.numel() for parameter in model.parameters()) - published) < tolerance


@pytest.mark.parametrize(
    ("name", "width", "blocks", "final_norm"),
    [
        ("preact_resnet18", 6, [2, 2, 2, 2], False),
        ("wrn_16_8", 2, [2, 2, 2], True),
        ("wrn_28_10", 2, [4, 4, 4], True),
        ("wrn_40_2", 3, [6, 6, 6], True),
    ],
)
@pytest.mark.parametrize(("height", "width_pixels"), [(16, 16), (15, 18)])
def test_forward_pass_is_the_straight_line_calculation(
    name: str, width: int, blocks: list[int], final_norm: bool, height: int, width_pixels: int
) -> None:
    draws = torch.Generator().manual_seed(0)
    model = timm.create_model(name, num_classes=7, in_chans=2, width=width).double().eval()
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                value.add_(0.3 * torch.rand(value.shape, generator=draws, dtype=torch.float64))
            else:
                assert key.endswith("num_batches_tracked")
    images = torch.randn(3, 2, height, width_pixels, generator=draws, dtype=torch.float64)
    expected = straight_line(images, dict(model.state_dict()), blocks, final_norm)
    torch.testing.assert_close(model(images), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("name", "factors"), [("preact_resnet18", (1, 2, 4, 8)), ("wrn_16_8", (8, 16, 32))])
def test_stages_widths_and_the_initial_weights(name: str, factors: tuple[int, ...]) -> None:
    model = timm.create_model(name, num_classes=10, width=16)
    assert [entry["num_chs"] for entry in model.feature_info] == [16 * factor for factor in factors]
    assert [entry["reduction"] for entry in model.feature_info] == [2**index for index in range(len(factors))]
    conv = model.get_submodule("layer3.0.conv2").weight.detach()
    assert float(conv.std()) == pytest.approx((2 / (9 * conv.shape[0])) ** 0.5, rel=0.03)
    norm = model.get_submodule("layer3.0.norm1")
    assert (norm.weight == 1).all()
    assert (norm.bias == 0).all()


def test_only_pooling_and_a_linear_layer_follow_the_last_stage_of_preact_resnet18() -> None:
    model = timm.create_model("preact_resnet18", num_classes=5, width=4).eval()
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    seen: list[Tensor] = []
    model.get_submodule("layer4").register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    logits = model(images)
    torch.testing.assert_close(logits, functional.linear(seen[0].mean((2, 3)), model.fc.weight, model.fc.bias))
    assert (seen[0] < 0).any()


def test_dropout_of_a_wide_resnet_acts_inside_the_blocks() -> None:
    model = timm.create_model("wrn_16_8", num_classes=5, width=2, drop_rate=0.5)
    assert [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)] == [0.5] * 6


@pytest.mark.parametrize("name", WEIGHTS)
def test_there_are_no_pretrained_weights(name: str) -> None:
    with pytest.raises(RuntimeError, match=f"{name} has no pretrained weights"):
        timm.create_model(name, pretrained=True)
