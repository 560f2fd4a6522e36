"""TransMix against a loop over images and patches with timm's unfused attention."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.backbones.adapter import TimmBackbone
from methods import transmix
from methods.api import Batch, BatchShape, Draws, Task
from methods.cutmix import CutMix
from methods.mixup import Mixup
from methods.ops.boxes import box_mask, share_outside
from methods.ops.keys import Key
from methods.transmix import TransMix
from tests.oracle.mixing_checks import CLASSES, check_label_follows_image, cross_entropy, normalise, photographs
from tests.oracle.vit_cases import GRID, PATCH, SIZE, reference_pass, small_vit

BOXES = [(0, 17, 9, 32), (8, 16, 8, 24), (3, 7, 3, 7), (0, 32, 0, 32), (5, 5, 4, 9)]
PERMUTATION = [2, 0, 3, 1]
CASES = settings(max_examples=60, deadline=None, database=None, derandomize=True)


def ready(net: TimmBackbone, **options: float) -> TransMix:
    method = TransMix(**options)
    method.setup(net, Task(CLASSES, cross_entropy, (3, SIZE, SIZE)))
    return method


def images() -> Tensor:
    return normalise(photographs(4, 3, SIZE, SIZE))


def check_equals_a_loop(box: tuple[int, int, int, int], distilled: bool = False, attention_weight: float = 0.5) -> None:
    net, batch, labels = small_vit(distilled), images(), torch.tensor([0, 4, 2, 2])
    top, bottom, left, right = box
    losses, kept = [], []
    for i, j in enumerate(PERMUTATION):
        mixed = batch[i : i + 1].clone()
        mixed[0, :, top:bottom, left:right] = batch[j, :, top:bottom, left:right]
        logits, attention = reference_pass(net, mixed)
        inside = total = 0.0
        for row in range(GRID):
            for column in range(GRID):
                total += attention[row][column]
                if top <= row * PATCH < bottom and left <= column * PATCH < right:
                    inside += attention[row][column]
        area = (bottom - top) * (right - left) / SIZE**2
        lam = 1 - ((1 - attention_weight) * area + attention_weight * inside / total)
        kept.append(lam)
        losses.append(lam * cross_entropy(logits, labels[[i]]) + (1 - lam) * cross_entropy(logits, labels[[j]]))
    draws = Draws("cutmix", {"box": torch.tensor(box), "permutation": torch.tensor(PERMUTATION)})
    with net.count_passes() as count:
        loss = ready(net, attention_weight=attention_weight).loss(net, Batch((batch,), labels), draws)
    torch.testing.assert_close(loss.total, torch.cat(losses).mean(), rtol=1e-4, atol=1e-5)
    assert loss.parts["share_kept"].item() == pytest.approx(np.mean(kept), abs=1e-5)
    assert count.images == 4


@pytest.mark.parametrize("box", BOXES)
def test_equals_a_loop_over_images_and_patches(box: tuple[int, int, int, int]) -> None:
    check_equals_a_loop(box)


@pytest.mark.parametrize("attention_weight", [0.0, 1.0])
def test_distilled_model_and_both_ends_of_the_attention_weight(attention_weight: float) -> None:
    check_equals_a_loop(BOXES[0], distilled=True, attention_weight=attention_weight)


def test_gradient_does_not_flow_through_the_label() -> None:
    net, batch, labels = small_vit(), images(), torch.tensor([0, 4, 2, 2])
    draws = Draws("cutmix", {"box": torch.tensor(BOXES[0]), "permutation": torch.tensor(PERMUTATION)})
    ready(net).loss(net, Batch((batch,), labels), draws).total.backward()
    ours = {name: parameter.grad.clone() for name, parameter in net.named_parameters()}
    net.zero_grad()
    mixed = torch.where(box_mask(draws["box"], SIZE, SIZE), batch[PERMUTATION], batch)
    logits, attention = net.attention(mixed)
    lam = TransMix().own_weight(attention.mean(1), draws["box"], SIZE, SIZE)
    target = torch.zeros(4, CLASSES)
    for i, j in enumerate(PERMUTATION):
        target[i, labels[i]] += lam[i]
        target[i, labels[j]] += 1 - lam[i]
    torch.nn.functional.cross_entropy(logits, target).backward()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-3, atol=1e-5)


@CASES
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 7), st.integers(1, 4), st.data())
def test_own_weight_on_any_grid(rows: int, columns: int, patch: int, size: int, data: st.DataObject) -> None:
    height, width = rows * patch, columns * patch
    top, bottom = sorted(data.draw(st.tuples(st.integers(0, height), st.integers(0, height))))
    left, right = sorted(data.draw(st.tuples(st.integers(0, width), st.integers(0, width))))
    attention = torch.rand(size, rows * columns, generator=torch.Generator().manual_seed(size)) + 0.01
    actual = TransMix().own_weight(attention, torch.tensor([top, bottom, left, right]), height, width)
    assert actual.shape == (size,)
    assert actual.min() >= -1e-6
    assert actual.max() <= 1
    for i in range(size):
        weights = attention[i].reshape(rows, columns).tolist()
        inside = sum(
            weights[r][c]
            for r in range(rows)
            for c in range(columns)
            if top <= r * patch < bottom and left <= c * patch < right
        )
        area = (bottom - top) * (right - left) / (height * width)
        expected = 1 - (area + inside / sum(map(sum, weights))) / 2
        assert actual[i].item() == pytest.approx(expected, abs=1e-5)


def test_uniform_attention_on_whole_patches_is_cutmix() -> None:
    box = torch.tensor([8, 24, 0, 16])
    lam = TransMix().own_weight(torch.full((3, 16), 0.05), box, SIZE, SIZE)
    torch.testing.assert_close(lam, share_outside(box, SIZE, SIZE).expand(3))


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (5, 1, 6, 9)])
def test_mixup_branch_is_mixup(shape: tuple[int, int, int, int]) -> None:
    check_label_follows_image(TransMix(cutmix_share=0.0), shape, [Key("transmix", i) for i in range(6)])
    ours, theirs = (m.draw(Key(3), BatchShape(*shape)) for m in (TransMix(cutmix_share=0.0), Mixup(alpha=0.8)))
    assert all(torch.equal(ours[name], theirs[name]) for name in ("lam", "permutation"))


def test_draws_are_those_of_cutmix_and_the_coin_is_fair() -> None:
    shape = BatchShape(4, 3, 64, 64)
    counts = 0
    for number in range(600):
        draws = TransMix().draw(Key("coin", number), shape)
        counts += draws.branch == "cutmix"
        if draws.branch == "cutmix" and number < 60:
            assert torch.equal(draws["box"], CutMix().draw(Key("coin", number), shape)["box"])
    assert abs(counts - 300) < 4 * 150**0.5


def test_no_box_is_plain_training_bit_for_bit() -> None:
    net, batch, labels = small_vit(), images(), torch.tensor([0, 1, 2, 3])
    method = ready(net, cutmix_alpha=0.0, cutmix_share=1.0)
    draws = method.draw(Key(0), BatchShape(*batch.shape))
    assert method.loss(net, Batch((batch,), labels), draws).total == cross_entropy(net(batch), labels).mean()


def test_skips_backbones_without_class_token() -> None:
    net = TimmBackbone(timm.create_model("test_resnet", num_classes=CLASSES), CLASSES, 3, 64)
    assert TransMix().skip(net, Task(CLASSES, cross_entropy, (3, 64, 64))) == net.attention_refusal
    assert "no vision transformer" in str(net.attention_refusal)
    assert TransMix().skip(small_vit(), Task(CLASSES, cross_entropy, (3, SIZE, SIZE))) is None


@pytest.mark.parametrize("fault", ["area only", "swapped", "columns as rows", "attention of the clean images"])
def test_planted_faults_are_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_equals_a_loop(BOXES[0])
    right = TransMix.own_weight
    if fault == "area only":
        monkeypatch.setattr(TransMix, "own_weight", lambda self, a, box, h, w: share_outside(box, h, w).expand(len(a)))
    elif fault == "swapped":
        monkeypatch.setattr(TransMix, "own_weight", lambda self, *args: 1 - right(self, *args))
    elif fault == "columns as rows":
        turned = lambda self, a, *rest: right(self, a.reshape(-1, GRID, GRID).mT.flatten(1), *rest)  # noqa: E731
        monkeypatch.setattr(TransMix, "own_weight", turned)
    else:
        monkeypatch.setattr(transmix, "paste", lambda own, partners, box: own)
    with pytest.raises(AssertionError):
        check_equals_a_loop(BOXES[0])
