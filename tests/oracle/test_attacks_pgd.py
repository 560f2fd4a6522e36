"""FGSM and PGD against foolbox, in float64 so that no rounding turns a sign."""

from __future__ import annotations

import copy
import functools
import warnings

import pytest
import torch
from attacked_net import attacked_net
from torch import Tensor, nn

from bench.evals.attack_ops import pgd as pgd_file
from bench.evals.attack_ops.ball import Ball
from bench.evals.attack_ops.loss import cross_entropy
from bench.evals.attack_ops.pgd import fgsm, pgd

TOLERANCE = 1e-9


@functools.lru_cache(maxsize=1)
def foolbox():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import foolbox

        return foolbox


def double_net() -> tuple[nn.Module, Tensor, Tensor]:
    net, pixels, labels = attacked_net()
    return copy.deepcopy(net).double(), pixels.double(), labels


def theirs(attack, net: nn.Module, pixels: Tensor, labels: Tensor, eps: float) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = foolbox().PyTorchModel(net, bounds=(0, 1), device="cpu")
        return attack(model, pixels, labels, epsilons=eps)[1]


def accuracy(net: nn.Module, pixels: Tensor, labels: Tensor) -> float:
    return (net(pixels).argmax(dim=1) == labels).double().mean().item()


@pytest.mark.parametrize(
    ("norm", "name", "eps"), [("linf", "LinfFastGradientAttack", 0.02), ("l2", "L2FastGradientAttack", 0.25)]
)
def test_fgsm_is_foolbox(norm: str, name: str, eps: float) -> None:
    net, pixels, labels = double_net()
    ours = fgsm(net, pixels, labels, Ball(norm, eps))
    expected = theirs(getattr(foolbox().attacks, name)(random_start=False), net, pixels, labels, eps)
    torch.testing.assert_close(ours, expected, rtol=0, atol=TOLERANCE)
    assert 0.1 < accuracy(net, ours, labels) < accuracy(net, pixels, labels) - 0.2


@pytest.mark.parametrize(
    ("norm", "name", "eps"),
    [("linf", "LinfProjectedGradientDescentAttack", 0.04), ("l2", "L2ProjectedGradientDescentAttack", 0.5)],
)
def test_pgd_is_foolbox(norm: str, name: str, eps: float) -> None:
    net, pixels, labels = double_net()
    ours = pgd(net, pixels, labels, Ball(norm, eps), eps / 2, 20, pixels)
    attack = getattr(foolbox().attacks, name)(abs_stepsize=eps / 2, steps=20, random_start=False)
    torch.testing.assert_close(ours, theirs(attack, net, pixels, labels, eps), rtol=0, atol=TOLERANCE)
    assert accuracy(net, ours, labels) <= accuracy(net, fgsm(net, pixels, labels, Ball(norm, eps)), labels)


def test_float32_gives_the_same_accuracy_as_foolbox() -> None:
    net, pixels, labels = attacked_net()
    for eps in (0.01, 0.02, 0.04):
        ours = pgd(net, pixels, labels, Ball("linf", eps), eps / 2, 20, pixels)
        attack = foolbox().attacks.LinfProjectedGradientDescentAttack(
            abs_stepsize=eps / 2, steps=20, random_start=False
        )
        expected = accuracy(net, theirs(attack, net, pixels, labels, eps), labels)
        assert accuracy(net, ours, labels) == pytest.approx(expected, abs=1.1 / len(labels))


def test_a_flipped_sign_of_the_loss_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    net, pixels, labels = double_net()
    monkeypatch.setattr(pgd_file, "cross_entropy", lambda *arguments: -cross_entropy(*arguments))
    flipped = fgsm(net, pixels, labels, Ball("linf", 0.04))
    expected = theirs(foolbox().attacks.LinfFastGradientAttack(random_start=False), net, pixels, labels, 0.04)
    assert (flipped - expected).abs().max() > 0.05
    assert accuracy(net, flipped, labels) >= accuracy(net, pixels, labels)
