"""Activation maps against CAM, components against a flood fill, MaxBoxAcc against a loop."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation_cases import by_key, context_of, random_backbone, random_feed
from torch import Tensor, nn

from bench.backbones.adapter import TimmBackbone
from bench.backbones.stages import StageRefused
from bench.evals.activation_map import activation_maps, best_overlap, largest_component_box
from bench.evals.localisation import Localisation
from methods.api import FeatureMap

FEED = random_feed(20, 3, 16, 4)


def net(final_norm: bool = False) -> TimmBackbone:
    return random_backbone(4, 16, final_norm=final_norm).eval()


def test_maps_are_the_positive_part_of_cam_for_pooling_and_a_linear_layer() -> None:
    """CAM: the last map weighted with the class's row of the classifier (Zhou et al. 2016)."""
    backbone, context = net(), context_of(FEED, 4, net())
    images = context.normalise(FEED.images)
    maps, depends = activation_maps(backbone, images, FEED.labels)
    with torch.no_grad():
        features = backbone.features(images).spatial.numpy()
    weight = backbone.model.fc.weight.detach().numpy()
    assert depends
    lit = 0
    for place in range(20):
        cam = np.einsum("c,chw->hw", weight[FEED.labels[place]], features[place]).clip(min=0)
        large = bilinear(cam, 16)
        if large.max() > 0:
            lit += 1
            large /= large.max()
        np.testing.assert_allclose(maps[place].numpy(), large, atol=1e-4)
    assert lit > 5


def bilinear(image: np.ndarray, size: int) -> np.ndarray:
    """Enlarged pixel by pixel; pixel centres at half integers, the border repeated."""
    side, out = len(image), np.zeros((size, size))
    for row in range(size):
        for column in range(size):
            places = [min(max((each + 0.5) * side / size - 0.5, 0), side - 1) for each in (row, column)]
            (top, left), (down, right) = [int(each) for each in places], [each % 1 for each in places]
            for r, share_r in ((top, 1 - down), (min(top + 1, side - 1), down)):
                for c, share_c in ((left, 1 - right), (min(left + 1, side - 1), right)):
                    out[row, column] += share_r * share_c * image[r, c]
    return out


def test_weights_are_mean_gradients_where_a_norm_follows_the_last_stage() -> None:
    """The gradient by central differences of the head, one channel raised everywhere by one step."""
    backbone, context = net(final_norm=True).double(), context_of(FEED, 4, net())
    images = context.normalise(FEED.images[:3]).double()
    labels = FEED.labels[:3]
    maps, _ = activation_maps(backbone, images, labels)
    with torch.no_grad():
        features = backbone.features(images).spatial
        weights = torch.zeros(3, 8, dtype=torch.float64)
        for channel in range(8):
            step = torch.zeros(1, 8, 1, 1, dtype=torch.float64)
            step[0, channel] = 1e-6
            up, down = (backbone.head(FeatureMap(features + sign * step, None)) for sign in (1, -1))
            weights[:, channel] = (up - down).gather(1, labels[:, None])[:, 0]
    for place in range(3):
        expected = bilinear(np.einsum("c,chw->hw", weights[place], features[place]).clip(min=0), 16)
        np.testing.assert_allclose(maps[place].numpy(), expected / max(expected.max(), 1e-30), atol=1e-3)


def test_maps_of_a_batch_are_those_of_single_images() -> None:
    backbone, context = net(final_norm=True), context_of(FEED, 4, net())
    images = context.normalise(FEED.images[:4])
    together, _ = activation_maps(backbone, images, FEED.labels[:4])
    for place in range(4):
        alone, _ = activation_maps(backbone, images[place : place + 1], FEED.labels[place : place + 1])
        torch.testing.assert_close(alone[0], together[place], atol=1e-4, rtol=0)
    assert all(parameter.grad is None for parameter in backbone.parameters())


def flood_box(lit: np.ndarray) -> list[float] | None:
    """The box of the largest 8-connected region by flood fill."""
    left, best = {(int(r), int(c)) for r, c in np.argwhere(lit)}, []
    while left:
        region, edge = [], [min(left)]
        left.discard(edge[0])
        while edge:
            row, column = edge.pop()
            region.append((row, column))
            for near in [(row + r, column + c) for r in (-1, 0, 1) for c in (-1, 0, 1)]:
                if near in left:
                    left.discard(near)
                    edge.append(near)
        if len(region) > len(best):
            best = region
    if not best:
        return None
    rows, columns = zip(*best, strict=True)
    height, width = lit.shape
    return [min(columns) / width, min(rows) / height, (max(columns) + 1) / width, (max(rows) + 1) / height]


def test_component_boxes_are_those_of_a_flood_fill() -> None:
    generator = np.random.default_rng(2)
    for density in (0.05, 0.2, 0.35, 0.5, 0.8):
        for _ in range(15):
            lit = generator.random((9, 12)) < density
            box, expected = largest_component_box(lit), flood_box(lit)
            assert (box is None and expected is None) or box.tolist() == pytest.approx(expected)
    assert largest_component_box(np.zeros((3, 3), dtype=bool)) is None
    assert largest_component_box(np.ones((3, 5), dtype=bool)).tolist() == [0, 0, 1, 1]


def overlap_by_counting(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union on a grid of 200 x 200 points."""
    x, y = np.meshgrid((np.arange(200) + 0.5) / 200, (np.arange(200) + 0.5) / 200)
    a, b = [(x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3]) for box in (first, second)]
    return float((a & b).sum() / (a | b).sum())


def test_overlap_is_that_of_counted_points() -> None:
    generator = np.random.default_rng(4)
    for _ in range(10):
        ends = np.sort(generator.integers(0, 21, (4, 2, 2)), axis=1) / 20 + np.array([[[0], [0.05]]])
        boxes = np.stack([ends[:, 0, 0], ends[:, 0, 1], ends[:, 1, 0], ends[:, 1, 1]], axis=1)
        expected = max(overlap_by_counting(boxes[0], box) for box in boxes[1:])
        assert best_overlap(boxes[0], boxes[1:]) == pytest.approx(expected, abs=0.02)
    assert best_overlap(np.array([0, 0, 0.5, 0.5]), np.array([[0.5, 0.5, 1, 1]])) == 0
    assert best_overlap(np.array([0, 0, 0.5, 1]), np.array([[0, 0, 1, 1]])) == 0.5


BOXES = {0: [[0.0, 0.0, 0.5, 0.5]], 3: [[0.2, 0.3, 0.9, 0.8], [0.0, 0.0, 1.0, 1.0]], 11: [[0.5, 0.1, 1.0, 0.6]],
         12: [[0.0, 0.5, 0.7, 1.0]], 19: [[0.25, 0.25, 0.75, 0.75]]}  # fmt: skip


def written(path: Path) -> str:
    rows = [",".join(map(str, [image, *box])) for image, boxes in BOXES.items() for box in boxes]
    path.write_text("\n".join(["image,left,top,right,bottom", *rows]) + "\n")
    return str(path)


def test_max_box_acc_is_that_of_a_loop(tmp_path: Path) -> None:
    backbone = net(final_norm=True)
    context = context_of(FEED, 4, backbone)
    maps, _ = activation_maps(backbone, context.normalise(FEED.images), FEED.labels)
    expected = []
    for iou in (0.2, 0.4):
        shares = []
        for threshold in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
            found = 0
            for image, boxes in BOXES.items():
                box = flood_box(maps[image].numpy() >= np.float32(threshold))
                found += box is not None and max(overlap(box, other) for other in boxes) >= iou
            shares.append(found / len(BOXES))
        expected.append(max(shares))
    evaluator = Localisation(boxes=written(tmp_path / "boxes.csv"), ious=(0.2, 0.4), thresholds=10)
    metrics = list(evaluator.evaluate(context, {}))
    assert [metric.value for metric in metrics] == pytest.approx([*expected, sum(expected) / 2])
    assert 0 < expected[1] < expected[0]
    assert [metric.key for metric in metrics] == evaluator.plan(context)
    small = Localisation(boxes=evaluator.boxes, ious=(0.2, 0.4), thresholds=10, batch_size=3)
    assert list(small.evaluate(context, {})) == metrics
    for known in range(4):
        assert list(evaluator.evaluate(context, by_key(metrics[:known]))) == metrics[known:]


def overlap(first: list[float], second: list[float]) -> float:
    common = math.prod(max(0, min(first[i + 2], second[i + 2]) - max(first[i], second[i])) for i in (0, 1))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return common / (sum(areas) - common)


class Bright(nn.Module):
    """Its map is the brightness, so that it points at what is bright."""

    def forward(self, images: Tensor, edit: dict) -> Tensor:
        features = edit[-1](FeatureMap(images[:, :1], None))
        return features.spatial.mean(dim=(2, 3)).repeat(1, 4)


def test_a_network_that_points_at_the_object_finds_it_all(tmp_path: Path) -> None:
    feed = random_feed(20, 3, 16, 4)
    feed.images.zero_()
    for image, boxes in BOXES.items():
        left, top, right, bottom = (round(16 * end) for end in boxes[0])
        feed.images[image, :, top:bottom, left:right] = 200
    context = context_of(feed, 4, Bright())
    context = type(context)(**{**vars(context), "normalise": lambda images: images.float() / 255})
    found = list(Localisation(boxes=written(tmp_path / "boxes.csv")).evaluate(context, {}))
    assert [metric.value for metric in found] == [1, 1, 1, 1]


class Refusing(nn.Module):
    def forward(self, images: Tensor, edit: dict) -> Tensor:
        raise StageRefused("no map")


class ClassToken(nn.Module):
    """Classifies by its token, which no position of the last map reaches."""

    def forward(self, images: Tensor, edit: dict) -> Tensor:
        spatial, prefix = edit[-1](FeatureMap(images, images.mean(dim=(2, 3))[:, None]))
        tokens = torch.cat([prefix, spatial.flatten(2).transpose(1, 2)], dim=1)
        return tokens[:, 0].repeat(1, 2)[:, :4]


@pytest.mark.parametrize("network", [Refusing(), ClassToken()])
def test_what_cannot_be_measured_is_none(network: nn.Module, tmp_path: Path) -> None:
    evaluator = Localisation(boxes=written(tmp_path / "boxes.csv"))
    assert [metric.value for metric in evaluator.evaluate(context_of(FEED, 4, network), {})] == [None] * 4
