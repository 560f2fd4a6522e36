"""MixPro against a loop over images and cells with timm's unfused attention."""

from __future__ import annotations

import math

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bench.backbones.adapter import TimmBackbone
from methods import mixpro
from methods.api import Batch, BatchShape, Draws, Task
from methods.cutmix import CutMix
from methods.mixpro import MixPro
from methods.mixup import Mixup
from methods.ops.cells import draw_cells, enlarge
from methods.ops.keys import Key
from tests.oracle.mixing_checks import CLASSES, check_label_follows_image, cross_entropy, normalise, photographs
from tests.oracle.vit_cases import GRID, PATCH, SIZE, reference_pass, small_vit

PERMUTATION = [2, 0, 3, 1]
CELLS = torch.tensor([[[1, 0], [0, 0]], [[1, 1], [0, 1]], [[0, 0], [0, 0]], [[0, 1], [1, 0]]]).bool()
CASES = settings(max_examples=60, deadline=None, database=None, derandomize=True)


def ready(net: nn.Module, **options: object) -> MixPro:
    method = MixPro(cells=2, **options)  # type: ignore[arg-type]
    method.setup(net, Task(CLASSES, cross_entropy, (3, SIZE, SIZE)))  # type: ignore[arg-type]
    return method


def check_equals_a_loop() -> None:
    """Value, and gradient including the way through the cosine."""
    net, images, labels = small_vit(), normalise(photographs(4, 3, SIZE, SIZE)), torch.tensor([0, 4, 2, 2])
    cell = 2 * PATCH
    total, kept, passes = torch.zeros(()), [], []
    for i, j in enumerate(PERMUTATION):
        mixed = images[j : j + 1].clone()
        for row in range(2):
            for column in range(2):
                if CELLS[i, row, column]:
                    area = (..., slice(cell * row, cell * row + cell), slice(cell * column, cell * column + cell))
                    mixed[area] = images[i : i + 1][area]
        _, attention = reference_pass(net, mixed)
        seen = sum(attention[r][c] for r in range(GRID) for c in range(GRID) if CELLS[i, r // 2, c // 2])
        passes.append((mixed, seen / sum(map(sum, attention))))
    for i, (mixed, seen) in enumerate(passes):
        j, logits = PERMUTATION[i], net(mixed)[0]
        area = int(CELLS[i].sum()) / 4
        target = torch.zeros(CLASSES)
        target[labels[i]] += area
        target[labels[j]] += 1 - area
        predicted = logits.exp() / logits.exp().sum()
        cosine = (target @ predicted) / (target.square().sum().sqrt() * predicted.square().sum().sqrt())
        weight = cosine * seen + (1 - cosine) * area
        kept.append(weight.item())
        total = total - (weight * predicted[labels[i]].log() + (1 - weight) * predicted[labels[j]].log()) / 4
    total.backward()
    expected = [parameter.grad.clone() for parameter in net.parameters()]  # type: ignore[union-attr]
    net.zero_grad()
    draws = Draws("cells", {"cells": CELLS, "permutation": torch.tensor(PERMUTATION)})
    with net.count_passes() as count:
        loss = ready(net).loss(net, Batch((images,), labels), draws)
    loss.total.backward()
    torch.testing.assert_close(loss.total, total, rtol=1e-4, atol=1e-5)
    assert loss.parts["share_kept"].item() == pytest.approx(np.mean(kept), abs=1e-5)
    assert count.images == 4
    for ours, theirs in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(ours.grad, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()) + 1e-6)


def test_equals_a_loop_over_images_and_cells() -> None:
    check_equals_a_loop()


class Flat(nn.Module):
    """A linear net that keeps its images and has a uniform attention."""

    num_classes = CLASSES

    def __init__(self, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.seen: list[Tensor] = []

    def reduction(self, stage: int = -1) -> int:
        return self.patch

    def attention(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self.seen.append(images)
        return torch.zeros(len(images), CLASSES), torch.full((len(images), 2, 16), 1 / 20)


@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (6, 1, 16, 16), (5, 1, 17, 30)])
@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_label_weight_is_the_share_of_pixels(shape: tuple[int, int, int, int], lam: float) -> None:
    """Black and white images, attention switched off: mean pixel of every mixed image == its mixed label."""
    size = shape[0]
    method, net = MixPro(cells=2, progressive=False), Flat(4)
    importance = torch.linspace(1, 2, size) ** 2
    method.setup(net, Task(CLASSES, lambda logits, labels: importance * labels, shape[1:]))  # type: ignore[arg-type]
    method.cell_tokens = 2
    labels = torch.arange(size) % 2
    images = labels.float().reshape(-1, 1, 1, 1).expand(shape)
    cells = draw_cells(Key("share"), lam, size, math.ceil(shape[2] / 8), math.ceil(shape[3] / 8))
    draws = Draws("cells", {"cells": cells, "permutation": torch.arange(size).roll(1)})
    total = method.loss(net, Batch((images,), labels), draws).total  # type: ignore[arg-type]
    torch.testing.assert_close(total, (importance * net.seen[0].mean((1, 2, 3))).mean())
    if lam in (0.0, 1.0):
        assert torch.equal(net.seen[0], images if lam == 1 else images.roll(1, 0))


@CASES
@given(st.integers(1, 6), st.integers(1, 7), st.integers(1, 7), st.floats(0, 1), st.integers(0, 10**6))
def test_every_image_keeps_as_many_cells(size: int, rows: int, columns: int, lam: float, seed: int) -> None:
    mask = draw_cells(Key("cells", seed), lam, size, rows, columns)
    assert mask.shape == (size, rows, columns)
    assert [int(each.sum()) for each in mask] == [math.ceil(lam * rows * columns)] * size


def test_cells_are_uniform_and_differ_between_images() -> None:
    masks = torch.stack([draw_cells(Key("uniform", number), 0.25, 3, 2, 4) for number in range(800)]).float()
    assert (masks.mean(0) - 0.25).abs().max() < 4 * math.sqrt(0.25 * 0.75 / 800)
    together = (masks[:, 0].flatten(1) * masks[:, 1].flatten(1)).mean(0)
    assert (together - 1 / 16).abs().max() < 4 * math.sqrt(1 / 16 * 15 / 16 / 800)


@CASES
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.data())
def test_enlarge_equals_a_loop(rows: int, columns: int, side: int, data: st.DataObject) -> None:
    height, width = (data.draw(st.integers((n - 1) * side + 1, n * side)) for n in (rows, columns))
    mask = torch.rand(2, rows, columns, generator=torch.Generator().manual_seed(rows)) < 0.5
    big = enlarge(mask, side, height, width)
    assert big.shape == (2, height, width)
    assert all(big[0, y, x] == mask[0, y // side, x // side] for y in range(height) for x in range(width))


def test_mean_share_of_whole_cells() -> None:
    """lam uniform, rounded up to sixteenths: the mean is (1 + 2 + ... + 16) / 256 = 17/32."""
    method = MixPro(cell_share=1.0)
    method.token, method.cell_tokens = 4, 4
    shares = [
        method.draw(Key("mean", number), BatchShape(1, 1, 64, 64))["cells"].float().mean().item()
        for number in range(10000)
    ]
    assert abs(np.mean(shares) - 17 / 32) < 4 * np.std(shares) / 100


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (5, 1, 6, 9)])
def test_other_batches_are_mixup_and_cutmix(shape: tuple[int, int, int, int]) -> None:
    method = MixPro(cell_share=0.0)
    method.setup = lambda backbone, task: setattr(method, "task", task)  # type: ignore[method-assign]
    check_label_follows_image(method, shape, [Key("mixpro", number) for number in range(12)])
    counts = {"mixup": 0, "cutmix": 0, "cells": 0}
    for number in range(600):
        draws = MixPro().draw(Key("coin", number), BatchShape(*shape))
        counts[draws.branch] += 1
        if draws.branch == "mixup":
            assert torch.equal(draws["lam"], Mixup(alpha=0.8).draw(Key("coin", number), BatchShape(*shape))["lam"])
        if draws.branch == "cutmix":
            large = BatchShape(*shape[:2], 224, 224)
            ours, theirs = (one.draw(Key("coin", number), large) for one in (MixPro(), CutMix(alpha=1.0)))
            assert torch.equal(ours["box"], theirs["box"])
    for branch, expected in (("cells", 300), ("mixup", 150), ("cutmix", 150)):
        assert abs(counts[branch] - expected) < 4 * math.sqrt(expected * (1 - expected / 600))


def test_skips() -> None:
    net = TimmBackbone(timm.create_model("test_resnet", num_classes=CLASSES), CLASSES, 3, 64)
    assert MixPro().skip(net, Task(CLASSES, cross_entropy, (3, 64, 64))) == net.attention_refusal
    assert "one token" in str(MixPro().skip(small_vit(), Task(CLASSES, cross_entropy, (3, PATCH, PATCH))))
    assert MixPro().skip(small_vit(), Task(CLASSES, cross_entropy, (3, SIZE, SIZE))) is None


@pytest.mark.parametrize(("cells", "side"), [(2, 2), (3, 2), (4, 1), (9, 1)])
def test_cells_are_whole_tokens(cells: int, side: int) -> None:
    method = MixPro(cells=cells, cell_share=1.0)
    method.setup(small_vit(), Task(CLASSES, cross_entropy, (3, SIZE, SIZE)))
    assert method.draw(Key(0), BatchShape(2, 3, SIZE, SIZE))["cells"].shape == (2, GRID // side, GRID // side)


@pytest.mark.parametrize("fault", ["kept swapped", "no gradient", "area only", "cosine swapped", "one mask for all"])
def test_planted_faults_are_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = MixPro.own_weight
    if fault == "kept swapped":
        monkeypatch.setattr(mixpro, "enlarge", lambda mask, *rest: ~enlarge(mask, *rest))
    elif fault == "no gradient":
        monkeypatch.setattr(MixPro, "own_weight", lambda self, logits, *rest: right(self, logits.detach(), *rest))
    elif fault == "area only":
        monkeypatch.setattr(MixPro, "own_weight", lambda self, logits, a, y, p, lam, cells: lam)
    elif fault == "cosine swapped":
        cosine = nn.functional.cosine_similarity
        monkeypatch.setattr(mixpro.functional, "cosine_similarity", lambda a, b, dim: 1 - cosine(a, b, dim))
    else:
        monkeypatch.setattr(mixpro, "enlarge", lambda mask, *rest: enlarge(mask[:1].expand_as(mask), *rest))
    with pytest.raises(AssertionError):
        check_equals_a_loop()
