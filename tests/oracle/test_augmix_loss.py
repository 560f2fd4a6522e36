"""AugMix's loss against timm's and SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from methods.api import Batch
from methods.augmix import AugMix
from methods.ops.jensen_shannon import jensen_shannon
from methods.ops.keys import Key
from tests.oracle.augmix_checks import check_loss_equals_timm
from tests.oracle.mixing_checks import check_one_graph, cross_entropy, normalise, photographs, ready, shape_of


@pytest.mark.parametrize("weight", [12.0, 0.0, 3.5])
def test_loss_equals_timm(weight: float) -> None:
    check_loss_equals_timm(AugMix(jsd_weight=weight))


def test_divergence_of_two_equals_scipy() -> None:
    logits = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0)) * 3
    p, q = logits.double().softmax(-1).numpy()
    expected = np.mean(jensenshannon(p, q, axis=1) ** 2)
    assert jensen_shannon(tuple(logits)).item() == pytest.approx(expected, rel=1e-5)


def test_divergence_of_identical_views_is_zero() -> None:
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    assert abs(jensen_shannon((logits, logits, logits)).item()) < 1e-6


def test_only_the_clean_third_is_classified() -> None:
    images, labels = normalise(photographs(4, 3, 8, 8)), torch.tensor([0, 1, 2, 3])
    method, recorder = ready(AugMix(jsd_weight=0.0), images)
    draws = method.draw(Key(0), shape_of(images))
    loss = method.loss(recorder, Batch((images, images + 100, -images), labels), draws).total
    torch.testing.assert_close(loss, cross_entropy(recorder(images), labels).mean())


def test_without_jsd_it_is_plain_training_on_one_view() -> None:
    images, labels = photographs(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])
    method, recorder = ready(AugMix(jsd=False), images)
    draws = method.draw(Key(0), shape_of(images))
    (view,) = method.views(images, normalise, draws)
    loss = method.loss(recorder, Batch((view,), labels), draws).total
    assert torch.equal(recorder.seen[0], view)
    assert not torch.allclose(view, normalise(images))
    torch.testing.assert_close(loss, cross_entropy(recorder(view), labels).mean())


def test_probabilities_that_underflow_have_finite_gradients() -> None:
    logits = torch.tensor([[[300.0, 0, -300]], [[0, 300, -300]], [[300, 0, -300]]], requires_grad=True)
    divergence = jensen_shannon(tuple(logits))
    (gradient,) = torch.autograd.grad(divergence, logits)
    mixture = np.clip(np.array([2 / 3, 1 / 3, 0]), 1e-7, 1)
    expected = (2 * -np.log(mixture[0]) - np.log(mixture[1])) / 3
    assert divergence.item() == pytest.approx(expected, rel=1e-5)
    assert torch.isfinite(gradient).all()


def test_bf16_logits_are_compared_in_float32() -> None:
    logits = (torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(0)) * 4).to(torch.bfloat16)
    divergence = jensen_shannon(tuple(logits))
    assert divergence.dtype == torch.float32
    assert torch.equal(divergence, jensen_shannon(tuple(logits.float())))


@pytest.mark.parametrize("jsd", [True, False])
def test_lists_of_varying_length_compile_to_one_graph(jsd: bool) -> None:
    check_one_graph(AugMix(jsd=jsd), photographs(4, 3, 8, 8), [Key("graph", number) for number in range(4)])
