"""RegMixup against Mixup, a loop over images and soft labels."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from methods import regmixup
from methods.api import BatchShape, Draws
from methods.mixup import Mixup
from methods.ops.keys import Key
from methods.regmixup import RegMixup
from tests.oracle.input_method_checks import (
    check_compiles_to_one_graph,
    check_label_faults_are_caught,
    check_labels_follow_pixels,
    take_step,
)
from tests.oracle.mixing_checks import CLASSES, cross_entropy, normalise, photographs, ready, shape_of

KEYS = [Key("regmixup", number) for number in range(8)]


@pytest.mark.parametrize("lam_per", ["batch", "sample"])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_labels_follow_pixels(lam_per: str, size: int) -> None:
    check_labels_follow_pixels(RegMixup(alpha=1.0, lam_per=lam_per), (size, 1, 3, 5), KEYS)


@pytest.mark.parametrize("lam", [0.0, 0.45, 1.0])
def test_equals_soft_label_cross_entropy_of_both_halves(lam: float) -> None:
    images, labels = normalise(photographs(5, 3, 8, 11)), torch.tensor([0, 4, 2, 2, 1])
    permutation = [3, 0, 4, 2, 1]
    method, recorder = ready(RegMixup(), images)
    draws = Draws(tensors={"lam": torch.tensor(lam), "permutation": torch.tensor(permutation)})
    total, seen, parts = take_step(method, recorder, images, labels, draws)
    one_hot = torch.eye(CLASSES)
    pictures, targets = [], []
    for i in range(5):
        pictures.append(images[i])
        targets.append(one_hot[labels[i]])
    for i in range(5):
        pictures.append(lam * images[i] + (1 - lam) * images[permutation[i]])
        targets.append(lam * one_hot[labels[i]] + (1 - lam) * one_hot[labels[permutation[i]]])
    torch.testing.assert_close(seen, torch.stack(pictures), rtol=0, atol=1e-6)
    expected = F.cross_entropy(recorder(torch.stack(pictures)), torch.stack(targets))
    torch.testing.assert_close(total, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close((parts["clean"] + parts["mixed"]) / 2, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lam_per", ["batch", "sample"])
def test_the_mixed_part_is_mixup_at_the_same_key(lam_per: str) -> None:
    images, labels = normalise(photographs(4, 1, 6, 9)), torch.tensor([0, 1, 2, 3])
    for key in KEYS:
        ours, recorder = ready(RegMixup(alpha=1.0, lam_per=lam_per), images)
        _, seen, parts = take_step(ours, recorder, images, labels, ours.draw(key, shape_of(images)))
        theirs, recorder = ready(Mixup(alpha=1.0, lam_per=lam_per), images)
        total, mixed, _ = take_step(theirs, recorder, images, labels, theirs.draw(key, shape_of(images)))
        assert torch.equal(seen[:4], images)
        assert torch.equal(seen[4:], mixed)
        torch.testing.assert_close(parts["mixed"], total, rtol=1e-5, atol=1e-6)


def test_alpha_zero_is_the_loss_of_plain_training() -> None:
    images, labels = normalise(photographs(4, 3, 6, 6)), torch.tensor([0, 1, 2, 3])
    method, recorder = ready(RegMixup(alpha=0.0), images)
    total, seen, parts = take_step(method, recorder, images, labels, method.draw(Key(0), shape_of(images)))
    assert torch.equal(seen, images.repeat(2, 1, 1, 1))
    assert total.item() == cross_entropy(recorder(images), labels).mean().item()
    assert parts["share_kept"] == 1


def test_mean_share_kept_and_spread_of_lam() -> None:
    """Beta(20, 20) has mean 1/2 and variance 1 / (4 * 41)."""
    lam = torch.stack([RegMixup().draw(Key(number), BatchShape(1, 1, 1, 1))["lam"] for number in range(4000)])
    assert abs(lam.mean().item() - 0.5) < 4 * (1 / 164 / 4000) ** 0.5
    assert lam.var().item() == pytest.approx(1 / 164, rel=0.1)


def test_compiles_to_one_graph() -> None:
    check_compiles_to_one_graph(RegMixup(), photographs(3, 3, 8, 8), KEYS[:4])


def test_wrong_labels_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    check_label_faults_are_caught(regmixup, lambda: RegMixup(alpha=1.0), (6, 1, 4, 3), monkeypatch)


def test_halves_in_the_wrong_order_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = torch.cat
    monkeypatch.setattr(regmixup.torch, "cat", lambda tensors: right(tensors[::-1]))
    with pytest.raises(AssertionError):
        test_equals_soft_label_cross_entropy_of_both_halves(0.45)
