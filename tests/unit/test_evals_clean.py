from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.data.resident import ResidentEval
from bench.errors import BadInput
from bench.evals.api import Context, Transform
from bench.evals.clean import Clean
from bench.evals.forward import accuracy, evaluation_mode, predictions


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


class Counting(ResidentEval):
    """Counts the images it has served."""

    seen = 0

    def batches(self, batch_size: int, transform: Transform | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in super().batches(batch_size, transform):
            self.seen += len(images)
            yield images, labels


def test_metrics_and_resume() -> None:
    plain = random_feed(90, 1, 4, 7)
    feed = Counting(plain.images, plain.labels, 4)
    context = context_of(feed, 7)
    metrics = list(Clean(batch_size=40).evaluate(context, {}))
    assert [metric.key for metric in metrics] == Clean().plan(context)
    assert [metric.name for metric in metrics] == [
        "top1", "top5", "nll", "brier", "ece_15", "ece_15_floor", "confidence_gap"
    ]  # fmt: skip
    done = {metric.key: metric.value for metric in metrics[:3]}
    assert list(Clean().evaluate(context, done)) == metrics[3:]
    feed.seen = 0
    assert list(Clean().evaluate(context, {metric.key: metric.value for metric in metrics})) == []
    assert feed.seen == 0


def test_top5_needs_more_than_five_classes() -> None:
    context = context_of(random_feed(10, 1, 4, 5), 5)
    assert "top5" not in {metric.name for metric in Clean().evaluate(context, {})}


def test_predictions_follow_the_split_and_not_the_batch_size() -> None:
    feed = random_feed(33, 3, 4, 4)
    context = context_of(feed, 4)
    ours = predictions(context, batch_size=10)
    with torch.no_grad():
        expected = context.backbone(context.normalise(feed.images))
    torch.testing.assert_close(ours.logits, expected)
    assert torch.equal(ours.labels, feed.labels)
    assert ours.top1().dtype == np.uint8
    assert ours.top1().tolist() == expected.argmax(dim=1).tolist()
    assert ours._replace(logits=torch.zeros(2, 257)).top1().dtype == np.uint16


def test_evaluation_mode_leaves_modes_and_statistics_as_they_were() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    net[1].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    predictions(context_of(random_feed(8, 1, 4, 3), 3, net), batch_size=4)
    assert [module.training for module in net] == [True, False, True, True]
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_modes_come_back_after_an_error() -> None:
    net = nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="shapes"), evaluation_mode(net, torch.device("cpu")):
        net(torch.zeros(1, 3))
    assert net.training


def test_evaluation_is_float32_inside_an_outer_autocast() -> None:
    context = context_of(random_feed(8, 1, 4, 3), 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = predictions(context)
    assert torch.equal(inside.logits, predictions(context).logits)


def test_evaluation_shortens_no_float32_on_a_gpu() -> None:
    before = torch.backends.cudnn.allow_tf32
    net = nn.Linear(2, 2)
    with evaluation_mode(net, torch.device("cpu")):
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == before


def test_a_missing_split_is_bad_input() -> None:
    with pytest.raises(BadInput, match=r"no validation split .* has: test"):
        list(Clean(split="validation").evaluate(context_of(random_feed(8, 1, 4, 3), 3), {}))


def test_logits_that_are_not_finite_are_no_accuracy() -> None:
    feed = random_feed(8, 1, 4, 3)
    context = context_of(feed, 3)
    context.backbone[1].bias.data[1] = float("nan")
    with pytest.raises(BadInput, match="not finite on 8 of 8 images"):
        accuracy(context, feed, None, 4)
