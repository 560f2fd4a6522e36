"""Manifold Mixup against Mixup and against a loop over images, on timm's test ResNet behind a stand-in adapter."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import timm
import torch
from scipy import stats
from torch import Tensor, nn

from methods.api import Batch, BatchShape, Draws, Edit, FeatureMap, Task
from methods.manifold_mixup import ManifoldMixup
from methods.mixup import Mixup
from methods.ops.keys import Key
from tests.oracle.mixing_checks import (
    CLASSES,
    check_label_follows_image,
    cross_entropy,
    normalise,
    photographs,
    shape_of,
)

SHAPE = BatchShape(5, 3, 32, 40)
TASK = Task(CLASSES, cross_entropy, (3, 32, 40))


class StagedResNet(nn.Module):
    """timm's test_resnet in eval mode with edits after layer1 to layer4; counts its passes."""

    num_classes = CLASSES
    stages = ("layer1", "layer2", "layer3", "layer4")

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.model = timm.create_model("test_resnet", num_classes=CLASSES).eval()
        self.passes = 0

    def until(self, images: Tensor, depth: int) -> Tensor:
        x = self.model.maxpool(self.model.act1(self.model.bn1(self.model.conv1(images))))
        for name in self.stages[:depth]:
            x = getattr(self.model, name)(x)
        return x

    def after(self, x: Tensor, depth: int) -> Tensor:
        for name in self.stages[depth:]:
            x = getattr(self.model, name)(x)
        return self.model.forward_head(x)

    def forward(self, images: Tensor, edit: Mapping[int, Edit] | None = None) -> Tensor:
        self.passes += 1
        if not edit:
            return self.model(images)
        ((stage, function),) = edit.items()
        return self.after(function(FeatureMap(self.until(images, stage + 1), None)).spatial, stage + 1)


class TokenBackbone(nn.Module):
    """Features with two prefix tokens; logits are linear in both parts, so they show how each one was mixed."""

    num_classes = CLASSES
    stages = ("one", "two")

    def forward(self, images: Tensor, edit: Mapping[int, Edit] | None = None) -> Tensor:
        spatial = images[:, :, :1, :CLASSES]
        prefix = images[:, :, 1:3, :CLASSES].flatten(1, 2)[:, :2]
        if edit:
            ((_, function),) = edit.items()
            spatial, prefix = function(FeatureMap(spatial, prefix))
        return spatial.sum((1, 2)) + 3 * prefix.sum(1)


@pytest.fixture(scope="module")
def backbone() -> StagedResNet:
    return StagedResNet()


@pytest.fixture(scope="module")
def batch() -> Batch:
    return Batch((normalise(photographs(5, 3, 32, 40)),), torch.tensor([0, 4, 2, 2, 1]))


def ready(method: Mixup | ManifoldMixup, backbone: nn.Module) -> Mixup | ManifoldMixup:
    method.setup(backbone, TASK)  # type: ignore[arg-type]
    return method


def test_input_depth_is_mixup_bit_for_bit(backbone: StagedResNet, batch: Batch) -> None:
    manifold, mixup = ready(ManifoldMixup(alpha=1.0, deepest_stage=0), backbone), ready(Mixup(alpha=1.0), backbone)
    for number in range(4):
        ours, theirs = (method.draw(Key(number), SHAPE) for method in (manifold, mixup))
        assert ours.branch == "input"
        assert all(torch.equal(ours[name], theirs[name]) for name in ("lam", "permutation"))
        assert manifold.loss(backbone, batch, ours).total == mixup.loss(backbone, batch, theirs).total  # type: ignore[arg-type]


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_hidden_depth_equals_a_loop_over_images(backbone: StagedResNet, batch: Batch, depth: int) -> None:
    method = ready(ManifoldMixup(deepest_stage=depth), backbone)
    lam, permutation = 0.3, [2, 1, 4, 0, 3]
    draws = Draws(f"stage{depth}", {"lam": torch.tensor(lam), "permutation": torch.tensor(permutation)})
    (images,), labels = batch
    losses = []
    for i, j in enumerate(permutation):
        own, partner = (backbone.until(images[k : k + 1], depth) for k in (i, j))
        logits = backbone.after(lam * own + (1 - lam) * partner, depth)
        losses.append(lam * cross_entropy(logits, labels[[i]]) + (1 - lam) * cross_entropy(logits, labels[[j]]))
    backbone.passes = 0
    loss = method.loss(backbone, batch, draws).total  # type: ignore[arg-type]
    torch.testing.assert_close(loss, torch.cat(losses).mean(), rtol=1e-5, atol=1e-5)
    assert backbone.passes == 1


def test_prefix_tokens_are_mixed_like_the_grid() -> None:
    backbone = TokenBackbone()
    images = torch.randn(4, 2, 4, CLASSES, generator=torch.Generator().manual_seed(0))
    method = ready(ManifoldMixup(), backbone)
    method.task = TASK._replace(criterion=lambda logits, labels: logits[:, 0] + 10 * logits[:, 1] ** 2)
    draws = Draws("stage1", {"lam": torch.tensor(0.2), "permutation": torch.tensor([3, 0, 1, 2])})
    mixed = 0.2 * backbone(images) + 0.8 * backbone(images)[[3, 0, 1, 2]]
    expected = (mixed[:, 0] + 10 * mixed[:, 1] ** 2).mean()
    loss = method.loss(backbone, Batch((images,), torch.arange(4)), draws).total  # type: ignore[arg-type]
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)


def test_label_follows_image() -> None:
    check_label_follows_image(ManifoldMixup(deepest_stage=0), (5, 1, 3, 4), [Key("manifold", i) for i in range(10)])


def test_depths_are_uniform_and_lam_does_not_depend_on_them() -> None:
    method, shallow = ManifoldMixup(), ManifoldMixup(deepest_stage=0)
    counts = dict.fromkeys(("input", "stage1", "stage2"), 0)
    for number in range(900):
        draws = method.draw(Key("depth", number), SHAPE)
        counts[draws.branch] += 1
        assert torch.equal(draws["lam"], shallow.draw(Key("depth", number), SHAPE)["lam"])
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_gradients_reach_the_layers_before_the_mix(backbone: StagedResNet, batch: Batch) -> None:
    method = ready(ManifoldMixup(), backbone)
    draws = Draws("stage2", {"lam": torch.tensor(0.5), "permutation": torch.tensor([1, 2, 3, 4, 0])})
    method.loss(backbone, batch, draws).total.backward()  # type: ignore[arg-type]
    assert next(backbone.model.conv1.parameters()).grad.abs().sum() > 0
    backbone.zero_grad()


def test_skips_backbones_with_too_few_stages(backbone: StagedResNet) -> None:
    assert ManifoldMixup(deepest_stage=4).skip(backbone, TASK) is None  # type: ignore[arg-type]
    reason = ManifoldMixup(deepest_stage=5).skip(backbone, TASK)  # type: ignore[arg-type]
    assert reason == "mixes after stage 5, and the backbone has 4 stages"


def test_nothing_is_mixed_outside_the_loss(backbone: StagedResNet, batch: Batch) -> None:
    (images,) = batch.views
    before = backbone(images)
    method = ready(ManifoldMixup(), backbone)
    method.loss(backbone, batch, method.draw(Key(1), shape_of(images)))  # type: ignore[arg-type]
    assert torch.equal(backbone(images), before)
