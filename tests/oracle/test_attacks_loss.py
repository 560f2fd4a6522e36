"""Attack losses against sorted lists, AutoAttack's functions and central differences."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from attacked_net import attacked_net
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted

from bench.evals.attack_ops.loss import ascent, cross_entropy, likely_others, logits_ratio, targeted_logits_ratio

GENERATOR = np.random.default_rng(8)
LOGITS = torch.from_numpy(GENERATOR.normal(size=(40, 6)))
LABELS = torch.from_numpy(GENERATOR.integers(0, 6, 40))
TARGETS = (LABELS + torch.from_numpy(GENERATOR.integers(1, 6, 40))) % 6


def test_ratios_by_the_equations() -> None:
    untargeted = logits_ratio(LOGITS, LABELS, TARGETS)
    targeted = targeted_logits_ratio(LOGITS, LABELS, TARGETS)
    for row, (logits, label, target) in enumerate(zip(LOGITS.tolist(), LABELS.tolist(), TARGETS.tolist(), strict=True)):
        falling = sorted(logits, reverse=True)
        others = [value for place, value in enumerate(logits) if place != label]
        margin = logits[label] - max(others)
        assert untargeted[row].item() == pytest.approx(-margin / (falling[0] - falling[2]))
        below = falling[0] - (falling[2] + falling[3]) / 2
        assert targeted[row].item() == pytest.approx(-(logits[label] - logits[target]) / below)


def test_ratios_are_autoattacks() -> None:
    theirs = APGDAttack(None, eps=0.1)
    torch.testing.assert_close(logits_ratio(LOGITS, LABELS, TARGETS), theirs.dlr_loss(LOGITS, LABELS))
    targeted = APGDAttack_targeted(None, eps=0.1)
    targeted.y_target = TARGETS
    expected = targeted.dlr_loss_targeted(LOGITS, LABELS)
    torch.testing.assert_close(targeted_logits_ratio(LOGITS, LABELS, TARGETS), expected)


@pytest.mark.parametrize("loss", [logits_ratio, targeted_logits_ratio])
def test_ratios_ignore_scale_and_shift_and_stay_finite(loss) -> None:
    torch.testing.assert_close(loss(LOGITS * 1000 - 3, LABELS, TARGETS), loss(LOGITS, LABELS, TARGETS))
    assert loss(torch.zeros(1, 6), LABELS[:1], TARGETS[:1]).item() == 0


def test_likely_others_by_sorting() -> None:
    found = likely_others(LOGITS, LABELS, 5)
    for row, (logits, label) in enumerate(zip(LOGITS.tolist(), LABELS.tolist(), strict=True)):
        order = sorted((place for place in range(6) if place != label), key=lambda place: -logits[place])
        assert found[row].tolist() == order
    assert torch.equal(likely_others(LOGITS, LABELS, 2), found[:, :2])


@pytest.mark.parametrize("loss", [cross_entropy, logits_ratio, targeted_logits_ratio])
def test_ascent_against_central_differences(loss) -> None:
    net, pixels, labels = attacked_net()
    net = copy.deepcopy(net).double()
    pixels, labels = pixels[:3].double(), labels[:3]
    targets = (labels + 1) % 4
    found = ascent(net, pixels, loss, labels, targets)
    torch.testing.assert_close(found.losses, loss(net(pixels), labels, targets))
    for place in ((0, 0, 1, 2), (2, 1, 3, 3)):
        shift = torch.zeros_like(pixels)
        shift[place] = 1e-6
        up, down = (loss(net(pixels + sign * shift), labels, targets).sum() for sign in (1, -1))
        assert found.gradient[place].item() == pytest.approx(((up - down) / 2e-6).item(), rel=1e-5, abs=1e-9)


def test_parameters_get_no_gradient_and_the_pixels_none_either() -> None:
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 4))
    pixels = torch.rand((2, 3, 2, 2), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = ascent(net, pixels, cross_entropy, torch.tensor([0, 1]), torch.tensor([0, 1]))
    assert found.gradient.abs().sum() > 0
    assert not found.losses.requires_grad
    assert not pixels.requires_grad
    assert all(parameter.grad is None for parameter in net.parameters())
