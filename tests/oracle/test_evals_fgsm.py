"""FGSM against a linear network, where the worst case is known, and against central differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.data.resident import ResidentEval
from bench.errors import BadInput
from bench.evals.api import Context
from bench.evals.attack_ops.loss import ascent, cross_entropy
from bench.evals.fgsm import FGSM


def normalise(images: Tensor) -> Tensor:
    return (images.float() / 255 - 0.25) / 0.5


def random_feed(size: int, channels: int, side: int, classes: int) -> ResidentEval:
    generator = np.random.default_rng(5)
    images = torch.from_numpy(generator.integers(0, 256, (size, channels, side, side), dtype=np.uint8))
    return ResidentEval(images, torch.from_numpy(generator.integers(0, classes, size)), side)


def context_of(feed: ResidentEval, classes: int, net: nn.Module | None = None) -> Context:
    if net is None:
        inputs = feed.images[0].numel()
        net = nn.Sequential(nn.Flatten(), nn.Linear(inputs, classes))
        generator = np.random.default_rng(6)
        net[1].weight.data = torch.from_numpy(generator.normal(size=(classes, inputs)) / inputs**0.5).float()
        net[1].bias.data = torch.from_numpy(generator.normal(size=classes) / 10).float()
    return Context(net, normalise, {"test": feed}, classes, torch.device("cpu"), seed=0)


def values(metrics) -> dict:
    return {metric.key: metric.value for metric in metrics}


def test_two_class_linear_network_has_the_analytic_robust_accuracy() -> None:
    """The margin m(x) of a linear net falls by eps * |w|_1 / std, and FGSM is exact; pixels stay off the box's ends."""
    feed = random_feed(300, 1, 4, 2)
    feed = ResidentEval(feed.images // 2 + 60, feed.labels, 4)
    context = context_of(feed, 2)
    weight = context.backbone[1].weight
    with torch.no_grad():
        logits = context.backbone(context.normalise(feed.images))
    own, other = logits.gather(1, feed.labels[:, None])[:, 0], logits.gather(1, 1 - feed.labels[:, None])[:, 0]
    slope = (weight[0] - weight[1]).abs().sum().item() / 0.5
    found = {
        metric.detail["eps_255"]: metric.value
        for metric in FGSM(eps_255=(1, 8, 30)).evaluate(context, {})
        if metric.detail
    }
    expected = {eps: (own - other > eps / 255 * slope).double().mean().item() for eps in (1.0, 8.0, 30.0)}
    assert found == pytest.approx(expected)
    assert len(set(expected.values())) == 3


def test_gradient_is_by_pixels_in_unit_range() -> None:
    context = context_of(
        random_feed(2, 1, 4, 3), 3, nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))
    )
    context.backbone.double()

    def model(pixels: Tensor) -> Tensor:
        return context.backbone((pixels - 0.25) / 0.5)

    pixels = torch.full((2, 1, 4, 4), 0.5, dtype=torch.float64)
    pixels[0, 0, 1, 2] = 0.75
    labels = torch.tensor([2, 0])
    gradient = ascent(model, pixels, cross_entropy, labels, labels).gradient
    for place in ((0, 0, 1, 2), (1, 0, 3, 3)):
        up, down = pixels.clone(), pixels.clone()
        up[place] += 1e-5
        down[place] -= 1e-5
        with torch.no_grad():
            difference = nn.functional.cross_entropy(model(up), labels, reduction="sum") - nn.functional.cross_entropy(
                model(down), labels, reduction="sum"
            )
        assert gradient[place].item() == pytest.approx(difference.item() / 2e-5, rel=1e-5)


def test_logits_that_are_not_finite_are_bad_input() -> None:
    context = context_of(random_feed(20, 1, 4, 3), 3)
    context.backbone[1].bias.data[1] = torch.nan
    with pytest.raises(BadInput, match=r"^fgsm: the network's logits are not finite on 20 of 20 test images"):
        list(FGSM().evaluate(context, {}))


def test_resume_batch_size_and_training_mode() -> None:
    feed = random_feed(60, 1, 4, 3)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 3)).train()
    context = context_of(feed, 3, net)
    evaluator = FGSM(eps_255=(1, 4), per_class=10)
    metrics = list(evaluator.evaluate(context, {}))
    assert [metric.key for metric in metrics] == evaluator.plan(context)
    assert list(FGSM(eps_255=(1, 4), per_class=10, batch_size=7).evaluate(context, {})) == metrics
    assert list(evaluator.evaluate(context, values(metrics[:2]))) == metrics[2:]
    assert net.training
    assert all(parameter.grad is None for parameter in net.parameters())


def test_zero_gradients_are_reported() -> None:
    class Flat(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1)[:, :3].round()

    found = values(FGSM(eps_255=(1,)).evaluate(context_of(random_feed(20, 1, 4, 3), 3, Flat()), {}))
    assert found["fgsm_zero_gradient {}"] == 1.0
    assert found['fgsm_top1 {"eps_255":1.0}'] == found["fgsm_clean_top1 {}"]
