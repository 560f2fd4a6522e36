"""Feature distances against a loop over all pairs."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from evaluation_cases import by_key, context_of, random_backbone, random_feed
from torch import Tensor, nn

from bench.backbones.stages import StageRefused
from bench.data.resident import ResidentEval
from bench.evals.features import ClassSums, Features


def slow_distances(features: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Pair by pair in float64."""
    classes = sorted(set(labels.tolist()))
    within, centres = [], []
    for label in classes:
        own = features[labels == label].astype(np.float64)
        centres.append(own.mean(axis=0))
        pairs = [float(((a - b) ** 2).sum()) for a, b in combinations(own, 2)]
        if pairs:
            within.append(sum(pairs) / len(pairs))
    between = [float(((a - b) ** 2).sum()) for a, b in combinations(centres, 2)]
    return sum(within) / len(within), sum(between) / len(between)


def test_distances_of_the_last_map_are_those_of_all_pairs() -> None:
    feed = random_feed(40, 3, 8, 5)
    feed = ResidentEval(feed.images, torch.where(feed.labels == 2, 1, feed.labels), 8)
    feed.labels[7] = 2
    feed = ResidentEval(feed.images, feed.labels, 8)
    net = random_backbone(6, 8)
    context = context_of(feed, 6, net)
    found = by_key(list(Features(batch_size=11).evaluate(context, {})))
    with torch.no_grad():
        maps = net.eval().features(context.normalise(feed.images)).spatial.numpy()
    pooled = maps.mean(axis=(2, 3))
    unit = pooled / np.sqrt((pooled**2).sum(axis=1, keepdims=True))
    assert np.bincount(feed.labels.numpy(), minlength=6)[[2, 5]].tolist() == [1, 0]
    intra, inter = slow_distances(unit, feed.labels.numpy())
    assert list(found.values()) == pytest.approx([intra, inter, intra / inter], rel=1e-4)
    assert next(Features(batch_size=40).evaluate(context, {})).value == pytest.approx(intra, rel=1e-4)


def test_sums_in_parts_are_exact() -> None:
    generator = np.random.default_rng(3)
    features, labels = generator.normal(size=(60, 7)) + 5, generator.integers(0, 4, 60)
    sums = ClassSums(4)
    for part in (slice(0, 13), slice(13, 60)):
        sums.add(torch.from_numpy(features[part]), torch.from_numpy(labels[part]))
    assert sums.distances() == pytest.approx(slow_distances(features, labels), rel=1e-10)


class Rows(nn.Module):
    """Gives an image's own first row as its map."""

    def features(self, images: Tensor) -> object:
        class Given:
            spatial = images[:, :, :1, :1]

        return Given


def test_known_geometry() -> None:
    """Two classes on orthogonal axes: no spread within, squared distance 2 between, whatever the lengths."""
    images = torch.zeros(4, 2, 2, 2, dtype=torch.uint8)
    images[0, 0], images[1, 0], images[2, 1], images[3, 1] = 200, 10, 30, 255
    context = context_of(ResidentEval(images, torch.tensor([0, 0, 1, 1]), 2), 2, Rows())
    context = type(context)(**{**vars(context), "normalise": lambda pixels: pixels.float()})
    assert [metric.value for metric in Features().evaluate(context, {})] == pytest.approx([0, 2, 0])
    single = type(context)(**{**vars(context), "splits": {"test": ResidentEval(images[:2], torch.tensor([0, 1]), 2)}})
    values = [metric.value for metric in Features().evaluate(single, {})]
    assert values[0] is None
    assert values[1] == pytest.approx(0)
    assert values[2] is None


def test_resume_and_a_stage_that_cannot_be_read() -> None:
    context = context_of(random_feed(20, 3, 8, 3), 3, random_backbone(3, 8))
    metrics = list(Features().evaluate(context, {}))
    assert [metric.key for metric in metrics] == Features().plan(context)
    assert all(math.isfinite(metric.value) for metric in metrics)
    for known in range(4):
        assert list(Features().evaluate(context, by_key(metrics[:known]))) == metrics[known:]

    class Refusing(nn.Module):
        def features(self, images: Tensor) -> None:
            raise StageRefused("no map")

    refused = context_of(random_feed(20, 3, 8, 3), 3, Refusing())
    assert [metric.value for metric in Features().evaluate(refused, {})] == [None, None, None]
