"""The switching of the DeiT recipe against timm and against Mixup and CutMix alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.data import mixup as timm_mixup

from methods import mixup_cutmix
from methods.api import BatchShape, Draws, Method
from methods.cutmix import CutMix
from methods.mixup import Mixup
from methods.mixup_cutmix import MixupCutMix
from methods.ops.keys import Key
from tests.oracle.input_method_checks import (
    check_compiles_to_one_graph,
    check_label_faults_are_caught,
    check_labels_follow_pixels,
    check_plain,
    take_step,
)
from tests.oracle.mixing_checks import CLASSES, check_against_timm, normalise, photographs, ready, shape_of

KEYS = [Key("switching", number) for number in range(10)]
FLIP = torch.arange(6).flip(0)


@pytest.mark.parametrize("lam_per", ["batch", "sample"])
@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (2, 1, 8, 8), (7, 3, 5, 12)])
def test_labels_follow_pixels(lam_per: str, shape: tuple[int, int, int, int]) -> None:
    check_labels_follow_pixels(MixupCutMix(lam_per=lam_per), shape, KEYS)


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_mixup_branch_equals_timm(lam: float) -> None:
    draws = Draws("mixup", {"lam": torch.tensor(lam), "permutation": FLIP})
    check_against_timm(MixupCutMix(), draws, lam, box=None)


@pytest.mark.parametrize("box", [(0, 4, 0, 5), (2, 9, 3, 14), (3, 3, 5, 9)])
def test_cutmix_branch_equals_timm(box: tuple[int, int, int, int]) -> None:
    draws = Draws("cutmix", {"box": torch.tensor(box), "permutation": FLIP})
    check_against_timm(MixupCutMix(), draws, 0.123, box)


def test_choices_per_image_equal_timm_per_element(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = normalise(photographs(6, 3, 10, 14)), torch.tensor([0, 1, 2, 3, 4, 0])
    method, recorder = ready(MixupCutMix(lam_per="sample"), images)
    draws = method.draw(Key("elements", 3), shape_of(images))
    lam, boxes = draws["lam"].numpy(), draws["boxes"].numpy()
    cut = boxes.any(1)
    assert 0 < cut.sum() < 6
    draws = Draws(draws.branch, {**draws.tensors, "permutation": FLIP})
    total, seen, _ = take_step(method, recorder, images, labels, draws)

    reference = timm_mixup.Mixup(mode="elem", label_smoothing=0.0, num_classes=CLASSES)
    monkeypatch.setattr(reference, "_params_per_elem", lambda size: (np.where(cut, 0.5, lam).astype(np.float32), cut))
    drawn = iter(boxes[cut])
    monkeypatch.setattr(timm_mixup, "rand_bbox", lambda *unused, **options: tuple(next(drawn)))
    mixed, target = reference(images.clone(), labels)
    torch.testing.assert_close(seen, mixed, rtol=0, atol=1e-6)
    expected = -(target * F.log_softmax(recorder(mixed), 1)).sum(1).mean()
    torch.testing.assert_close(total, expected, rtol=1e-5, atol=1e-6)


def test_each_branch_is_its_method_at_the_same_key() -> None:
    shape, seen = BatchShape(5, 3, 12, 9), set()
    alone: dict[str, Method] = {"mixup": Mixup(alpha=0.8), "cutmix": CutMix(alpha=1.0)}
    for key in KEYS:
        draws = MixupCutMix().draw(key, shape)
        seen.add(draws.branch)
        expected = alone[draws.branch].draw(key, shape)
        assert draws.tensors.keys() == expected.tensors.keys()
        assert all(torch.equal(draws[name], expected[name]) for name in draws.tensors)
    assert seen == {"mixup", "cutmix"}


@pytest.mark.parametrize("lam_per", ["batch", "sample"])
def test_shares_of_the_branches_follow_switch_and_probability(lam_per: str) -> None:
    size = 1 if lam_per == "batch" else 10
    method = MixupCutMix(switch=0.3, probability=0.8, lam_per=lam_per)
    cut = blended = drawn = 0
    for number in range(3000 // size):
        draws = method.draw(Key("share", number), BatchShape(size, 1, 64, 64))
        boxes = draws.tensors.get("boxes", draws.tensors.get("box", torch.zeros(1, 4))).reshape(-1, 4)
        cut += int(boxes.any(1).sum())
        blended += int((draws.tensors.get("lam", torch.ones(1)) != 1).sum())
        drawn += size
    spread = 4 * math.sqrt(0.25 / drawn)
    assert abs(cut / drawn - 0.24) < spread
    assert abs(blended / drawn - 0.56) < spread


@pytest.mark.parametrize("lam_per", ["batch", "sample"])
def test_mean_share_kept(lam_per: str) -> None:
    """Half of Mixup's 1/2 and half of CutMix's 1 - 77/240."""
    images = torch.zeros(1 if lam_per == "batch" else 8, 1, 32, 32)
    method, recorder = ready(MixupCutMix(lam_per=lam_per), images)
    shares = []
    for number in range(2400 // len(images)):
        draws = method.draw(Key("mean", number), shape_of(images))
        shares.append(take_step(method, recorder, images, torch.zeros(len(images)).long(), draws)[2]["share_kept"])
    share = torch.stack(shares)
    assert abs(share.mean().item() - (0.5 + 1 - 77 / 240) / 2) < 4 * share.std().item() / len(share) ** 0.5


@pytest.mark.parametrize("lam_per", ["batch", "sample"])
def test_probability_zero_is_plain_training_bit_for_bit(lam_per: str) -> None:
    check_plain(MixupCutMix(probability=0.0, lam_per=lam_per), normalise(photographs(4, 3, 6, 9)), KEYS)


@pytest.mark.parametrize("lam_per", ["batch", "sample"])
def test_compiles_to_one_graph_a_branch(lam_per: str) -> None:
    check_compiles_to_one_graph(MixupCutMix(lam_per=lam_per), photographs(3, 3, 8, 8), KEYS[:5])


@pytest.mark.parametrize("lam_per", ["batch", "sample"])
def test_wrong_labels_are_caught(lam_per: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_label_faults_are_caught(mixup_cutmix, lambda: MixupCutMix(lam_per=lam_per), (6, 1, 12, 9), monkeypatch)


def test_cut_images_that_are_blended_too_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    check = test_shares_of_the_branches_follow_switch_and_probability
    monkeypatch.setattr(mixup_cutmix.torch, "where", lambda chosen, drawn, other: drawn)
    with pytest.raises(AssertionError):
        check("sample")
