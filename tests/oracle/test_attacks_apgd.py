"""Auto-PGD against a loop over single images written from the paper's algorithm 1, and against AutoAttack's."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from attacked_net import attacked_net, correct
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from torch import Tensor, nn

from bench.evals.attack_ops import apgd as apgd_file
from bench.evals.attack_ops.apgd import apgd, checkpoints
from bench.evals.attack_ops.ball import Ball
from bench.evals.attack_ops.loss import (
    Ascent,
    AttackLoss,
    ascent,
    cross_entropy,
    logits_ratio,
    targeted_logits_ratio,
)
from bench.evals.attack_ops.noise import random_start
from bench.evals.attack_ops.pgd import fgsm, pgd
from bench.evals.draws import ImageDraws
from methods.ops.keys import Key

LOSSES = (cross_entropy, logits_ratio, targeted_logits_ratio)
BALLS = (Ball("linf", 0.02), Ball("l2", 0.2))


def starts(pixels: Tensor, ball: Ball) -> Tensor:
    return random_start(pixels, ball, ImageDraws(Key(0, "apgd"), torch.arange(len(pixels))))


def slow_project(image: Tensor, point: Tensor, ball: Ball) -> Tensor:
    change = point - image
    if ball.norm == "linf":
        change = change.clip(-ball.eps, ball.eps)
    elif change.norm() > ball.eps:
        change = change / change.norm() * ball.eps
    return (image + change).clip(0, 1)


def slow_apgd(
    net: nn.Module, image: Tensor, label: int, target: int, ball: Ball, loss: AttackLoss, steps: int, start: Tensor
) -> tuple[Tensor, Tensor | None]:
    """The point of highest loss and the first misclassified one of one image; names as in the paper."""

    def f(x: Tensor) -> tuple[float, Tensor, bool]:
        leaf = x.clone().requires_grad_(True)
        logits = net(leaf[None])
        value = loss(logits, torch.tensor([label]), torch.tensor([target]))[0]
        return value.item(), torch.autograd.grad(value, leaf)[0], logits.argmax().item() != label

    def uphill(gradient: Tensor) -> Tensor:
        return gradient.sign() if ball.norm == "linf" else gradient / gradient.norm()

    p = [0.0, 0.22]
    while p[-1] < 1:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    w = [math.ceil(round(share * steps, 9)) for share in p]
    eta, alpha, rho = 2 * ball.eps, 0.75, 0.75
    x, x_before = start, start
    value, gradient, wrong = f(x)
    found = x if wrong else None
    f_max, x_max = value, x
    values, etas, maxima = [(value, value)], [eta], [f_max]
    for k in range(1, steps + 1):
        z = slow_project(image, x + eta * uphill(gradient), ball)
        if k > 1:
            z = slow_project(image, x + alpha * (z - x) + (1 - alpha) * (x - x_before), ball)
        old = value
        x_before, x = x, z
        value, gradient, wrong = f(x)
        values.append((old, value))
        found = x if wrong and found is None else found
        if value > f_max:
            f_max, x_max = value, x
        maxima.append(f_max)
        if k in w[1:]:
            last = w[w.index(k) - 1]
            first_condition = sum(after > before for before, after in values[last + 1 : k + 1]) < rho * (k - last)
            second_condition = etas[last] == eta and maxima[last] == f_max and (last == 0 or etas[last - 1] == eta)
            if first_condition or second_condition:
                eta, x = eta / 2, x_max
                value, gradient, _ = f(x)
        etas.append(eta)
    return x_max, found


def test_checkpoints_are_those_of_the_paper() -> None:
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(20) == [5, 9, 12, 14, 16, 18, 19, 20]
    assert checkpoints(1) == [1]


@pytest.mark.parametrize("ball", BALLS, ids=str)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_image_goes_the_way_of_algorithm_1(ball: Ball, loss: AttackLoss) -> None:
    net, pixels, labels = attacked_net()
    net, pixels, labels = copy.deepcopy(net).double(), pixels[:12].double(), labels[:12]
    targets = (labels + 1) % 4
    start, steps = starts(pixels, ball), 25
    highest = apgd(net, pixels, labels, ball, loss, steps, start, targets, stop_at_success=False)
    first = apgd(net, pixels, labels, ball, loss, steps, start, targets)
    ball.check(pixels, highest)
    ball.check(pixels, first)
    fooled = 0
    for row in range(len(pixels)):
        best, wrong = slow_apgd(
            net, pixels[row], labels[row].item(), targets[row].item(), ball, loss, steps, start[row]
        )
        torch.testing.assert_close(highest[row], best, rtol=0, atol=1e-8)
        torch.testing.assert_close(first[row], best if wrong is None else wrong, rtol=0, atol=1e-8)
        fooled += wrong is not None
    assert 1 < fooled < 12


@pytest.mark.parametrize(("norm", "name", "radii"), [("linf", "Linf", (0.01, 0.02)), ("l2", "L2", (0.1, 0.2))])
def test_as_strong_as_autoattacks_from_the_same_start(norm: str, name: str, radii: tuple[float, ...]) -> None:
    """One image may differ, as their conditions do at the margin: <= for <, checkpoints rounded down.

    The targeted ratio jumps once an image is misclassified, so that single images end elsewhere.
    """
    net, pixels, labels = attacked_net()
    targets = (labels + 2) % 4
    left = []
    for eps in radii:
        ball = Ball(norm, eps)
        start = starts(pixels, ball)
        for theirs, loss in (
            (APGDAttack(net, n_iter=40, norm=name, eps=eps, loss="ce"), cross_entropy),
            (APGDAttack_targeted(net, n_iter=40, norm=name, eps=eps), targeted_logits_ratio),
        ):
            theirs.init_hyperparam(pixels)
            theirs.y_target = targets
            _, survived, reached, _ = theirs.attack_single_run(pixels, labels, x_init=start)
            ours = apgd(net, pixels, labels, ball, loss, 40, start, targets)
            assert abs(correct(ours) - int(survived.sum())) <= 1
            highest = apgd(net, pixels, labels, ball, loss, 40, start, targets, stop_at_success=False)
            mean = loss(net(highest), labels, targets).mean().item()
            assert mean == pytest.approx(reached.mean().item(), abs=0.02 if loss is targeted_logits_ratio else 1e-3)
            left.append(correct(ours))
    assert 0 < min(left) < max(left) < correct(pixels)


@pytest.mark.parametrize("ball", BALLS, ids=str)
def test_stronger_than_the_legacy_attacks(ball: Ball) -> None:
    net, pixels, labels = attacked_net()
    left = correct(apgd(net, pixels, labels, ball, cross_entropy, 30, starts(pixels, ball)))
    assert left <= correct(pgd(net, pixels, labels, ball, ball.eps / 4, 30, pixels))
    assert left <= correct(fgsm(net, pixels, labels, ball))
    assert left < correct(pixels) - 20


def test_neither_batch_nor_order_change_an_image() -> None:
    net, pixels, labels = attacked_net()
    net, pixels, ball = copy.deepcopy(net).double(), pixels[:30].double(), BALLS[0]
    start = starts(pixels, ball)
    together = apgd(net, pixels, labels[:30], ball, cross_entropy, 20, start)
    order = torch.arange(29, -1, -4)
    apart = apgd(net, pixels[order], labels[order], ball, cross_entropy, 20, start[order])
    torch.testing.assert_close(apart, together[order], rtol=0, atol=1e-10)


def test_the_network_and_its_images_stay_as_they_were() -> None:
    net, pixels, labels = attacked_net()
    net = copy.deepcopy(net).requires_grad_(True)
    before = [parameter.detach().clone() for parameter in net.parameters()]
    kept = pixels.clone()
    apgd(net, pixels, labels, BALLS[0], cross_entropy, 5, starts(pixels, BALLS[0]))
    assert torch.equal(kept, pixels)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(old, new) for old, new in zip(before, net.parameters(), strict=True))


def downhill(*arguments) -> Ascent:
    found = ascent(*arguments)
    return found._replace(gradient=-found.gradient)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("MOMENTUM", 0.5),
        ("RISE_SHARE", 0.3),
        ("checkpoints", lambda steps: [steps // 2]),
        ("ascent", downhill),
    ],
)
def test_a_fault_of_the_schedule_is_seen(name: str, fault: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apgd_file, name, fault)
    with pytest.raises(AssertionError, match="Tensor-likes are not close"):
        test_every_image_goes_the_way_of_algorithm_1(BALLS[1], cross_entropy)
