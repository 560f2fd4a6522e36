"""The fast minimum-norm attack against foolbox's, and on linear networks, where the distance is known."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from attacked_net import attacked_net
from torch import Tensor

from bench.evals.attack_ops.fmn import fast_minimum_norm

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import eagerpy
    from foolbox import PyTorchModel
    from foolbox.attacks import L2FMNAttack, LInfFMNAttack
    from foolbox.criteria import Misclassification

ORDERS = {"linf": torch.inf, "l2": 2}
STEPS = 40


class ProjectingL2(L2FMNAttack):
    """foolbox 3.3.4 scales an L2 change by norm / norm, which never moves it into the ball; this projection does."""

    def project(self, x, x0, epsilon):  # type: ignore[no-untyped-def]
        change = x - x0
        length = eagerpy.maximum(change.flatten(start=1).norms.l2(axis=-1), 1e-12)
        return x0 + change * eagerpy.minimum(1, epsilon / length).reshape((-1, 1, 1, 1))


def lengths(change: Tensor, norm: str) -> Tensor:
    return torch.linalg.vector_norm(change.flatten(1), ord=ORDERS[norm], dim=1)


def foolbox_distances(norm: str) -> Tensor:
    """Infinite where foolbox found nothing, which it hands back as the unchanged image."""
    net, pixels, labels = attacked_net()
    attack = (LInfFMNAttack if norm == "linf" else ProjectingL2)(steps=STEPS)
    attacked = attack.run(PyTorchModel(net, bounds=(0, 1)), pixels, Misclassification(labels))
    found = lengths(attacked - pixels, norm)
    return torch.where(net(attacked).argmax(dim=1) == labels, torch.inf, found)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_distances_are_foolbox_s(norm: str) -> None:
    """Without overshoot every image's distance is foolbox's to 1e-5, and found or not found on the same images."""
    ours = fast_minimum_norm(*attacked_net(), norm, STEPS, overshoot=0).distance
    torch.testing.assert_close(ours, foolbox_distances(norm), atol=1e-5, rtol=0)
    assert ours[ours.isfinite()].std() > 1e-3


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_overshoot_finds_every_image_and_loses_nothing(norm: str) -> None:
    """With the default every image is found, and no distance is more than 1 % above foolbox's."""
    ours, theirs = fast_minimum_norm(*attacked_net(), norm, STEPS).distance, foolbox_distances(norm)
    assert ours.isfinite().all()
    assert (ours <= 1.01 * theirs).all()
    if norm == "l2":
        assert theirs.isinf().any(), "the estimated boundary is approached from the inside and never crossed"


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_is_returned_is_wrong_at_its_distance_and_in_the_box(norm: str) -> None:
    net, pixels, labels = attacked_net()
    labels = labels.clone()
    labels[:5] = (net(pixels[:5]).argmax(dim=1) + 1) % 4
    attacked, distance = fast_minimum_norm(net, pixels, labels, norm, STEPS)
    assert torch.equal(attacked[:5], pixels[:5])
    assert distance[:5].tolist() == [0.0] * 5
    assert torch.equal(distance > 0, net(pixels).argmax(dim=1) == labels)
    assert (net(attacked).argmax(dim=1) != labels).all()
    torch.testing.assert_close(lengths(attacked - pixels, norm), distance, atol=1e-6, rtol=0)
    assert attacked.min() >= 0
    assert attacked.max() <= 1


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
def test_linear_network_has_the_analytic_distance(norm: str, dual: int) -> None:
    """min over classes of margin / dual norm of the difference of their weights, to 0.1 %; all pixels off the box."""
    generator = np.random.default_rng(7)
    pixels = torch.from_numpy(generator.uniform(0.4, 0.6, (40, 2, 4, 4))).float()
    weight = torch.from_numpy(generator.normal(size=(3, 32))).float()
    logits = pixels.flatten(1) @ weight.T
    labels = logits.argmax(dim=1)
    gaps = logits.gather(1, labels[:, None]) - logits
    slopes = torch.linalg.vector_norm(weight[labels][:, None] - weight, ord=dual, dim=2)
    exact = torch.where(slopes > 0, gaps / slopes, torch.inf).amin(dim=1)
    ours = fast_minimum_norm(lambda images: images.flatten(1) @ weight.T, pixels, labels, norm, 200).distance
    assert exact.max() < 0.3, "the box must not matter"
    torch.testing.assert_close(ours, exact, rtol=1e-3, atol=1e-6)
    assert (ours >= exact * (1 - 1e-4)).all()


def test_an_image_s_distance_does_not_depend_on_the_batch() -> None:
    net, pixels, labels = attacked_net()
    whole = fast_minimum_norm(net, pixels[:30], labels[:30], "l2", 20).distance
    order = torch.tensor([11, 3, 29])
    part = fast_minimum_norm(net, pixels[order], labels[order], "l2", 20).distance
    torch.testing.assert_close(part, whole[order], rtol=1e-4, atol=0)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_network_without_gradient_is_not_fooled(norm: str) -> None:
    def flat(images: Tensor) -> Tensor:
        return images.flatten(1)[:, :3] * 0 + torch.tensor([1.0, 0.0, 0.0])

    pixels = torch.full((2, 1, 2, 2), 0.5)
    attacked, distance = fast_minimum_norm(flat, pixels, torch.tensor([0, 1]), norm, 5)
    assert distance.tolist() == [torch.inf, 0.0]
    assert torch.equal(attacked, pixels)
