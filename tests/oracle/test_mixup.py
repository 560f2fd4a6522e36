"""Mixup against timm, torchvision and a slow loop."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from torchvision.transforms import v2

from methods.api import Batch, BatchShape, Draws
from methods.mixup import Mixup
from methods.ops.keys import Key
from methods.ops.mixing import draw_lam, draw_permutation, mix
from tests.oracle.mixing_checks import (
    CLASSES,
    check_against_timm,
    check_label_follows_image,
    check_one_graph,
    cross_entropy,
    normalise,
    photographs,
    ready,
    shape_of,
)

KEYS = [Key("mixup", number) for number in range(20)]


def given_draws(lam: Tensor, permutation: Tensor) -> Draws:
    return Draws(tensors={"lam": lam, "permutation": permutation})


@pytest.mark.parametrize("lam", [0.0, 0.3, 0.85])
def test_equals_timm(lam: float) -> None:
    check_against_timm(Mixup(), given_draws(torch.tensor(lam), torch.arange(6).flip(0)), lam, box=None)


def test_equals_torchvision() -> None:
    images, labels = normalise(photographs(5, 3, 8, 11)), torch.tensor([0, 4, 2, 2, 1])
    reference = v2.MixUp(num_classes=CLASSES)
    reference.make_params = lambda flat_inputs: {"lam": 0.7}
    mixed, target = reference(images, labels)
    method, recorder = ready(Mixup(), images)
    expected = torch.nn.functional.cross_entropy(recorder(mixed), target)
    recorder.seen.clear()
    loss = method.loss(recorder, Batch((images,), labels), given_draws(torch.tensor(0.7), torch.arange(5).roll(1)))
    torch.testing.assert_close(recorder.seen[0], mixed, rtol=0, atol=1e-6)
    torch.testing.assert_close(loss.total, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lam_per", ["batch", "sample"])
@pytest.mark.parametrize("size", [1, 2, 7])
def test_label_follows_image(lam_per: str, size: int) -> None:
    check_label_follows_image(Mixup(lam_per=lam_per), (size, 1, 3, 5), KEYS)


def test_compiles_to_one_graph() -> None:
    check_one_graph(Mixup(lam_per="sample"), photographs(4, 3, 8, 8), KEYS[:5])


def test_lam_of_each_sample_equals_a_loop() -> None:
    images, labels = normalise(photographs(5, 1, 6, 9)), torch.tensor([3, 1, 4, 1, 0])
    method, recorder = ready(Mixup(lam_per="sample"), images)
    draws = method.draw(Key("loop"), shape_of(images))
    lam, permutation = draws["lam"].tolist(), draws["permutation"].tolist()
    assert len(set(lam)) == 5
    losses = []
    for i in range(5):
        logits = recorder(lam[i] * images[i : i + 1] + (1 - lam[i]) * images[permutation[i] : permutation[i] + 1])
        own, partner = (cross_entropy(logits, labels[[j]]) for j in (i, permutation[i]))
        losses.append(lam[i] * own + (1 - lam[i]) * partner)
    loss = method.loss(recorder, Batch((images,), labels), draws).total
    torch.testing.assert_close(loss, torch.cat(losses).mean(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lam_per", ["batch", "sample"])
def test_alpha_zero_is_plain_training_bit_for_bit(lam_per: str) -> None:
    images, labels = normalise(photographs(4, 3, 6, 6)), torch.tensor([0, 1, 2, 3])
    method, recorder = ready(Mixup(alpha=0.0, lam_per=lam_per), images)
    for key in KEYS:
        loss = method.loss(recorder, Batch((images,), labels), method.draw(key, shape_of(images))).total
        assert torch.equal(recorder.seen.pop(), images)
        assert loss.item() == cross_entropy(recorder(images), labels).mean().item()
        recorder.seen.clear()


@pytest.mark.parametrize("alpha", [0.2, 1.0, 2.0])
def test_lam_is_beta(alpha: float) -> None:
    together = draw_lam(Key("beta"), alpha, 4000).numpy()
    alone = [draw_lam(Key("beta", number), alpha).item() for number in range(1000)]
    for sample in (together, alone):
        assert stats.kstest(sample, stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_every_permutation_is_as_likely() -> None:
    counts: dict[tuple[int, ...], int] = {}
    for number in range(2400):
        drawn = tuple(draw_permutation(Key("permutation", number), 4).tolist())
        counts[drawn] = counts.get(drawn, 0) + 1
    assert len(counts) == 24
    assert all(sorted(permutation) == [0, 1, 2, 3] for permutation in counts)
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_draws_depend_on_the_key_alone() -> None:
    shape = BatchShape(8, 3, 4, 4)
    first = Mixup(lam_per="sample").draw(Key(1, "step", 5), shape)
    torch.manual_seed(7)
    again = Mixup(lam_per="sample").draw(Key(1, "step", 5), shape)
    other = Mixup(lam_per="sample").draw(Key(1, "step", 6), shape)
    assert all(torch.equal(first[name], again[name]) for name in ("lam", "permutation"))
    assert not torch.equal(first["lam"], other["lam"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_mix_keeps_the_dtype_and_computes_in_float32(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(3, 2, 4, 4, generator=generator).to(dtype) for _ in range(2))
    lam = torch.tensor(0.30001)
    expected = lam.double() * first.double() + (1 - lam.double()) * second.double()
    mixed = mix(first, second, lam)
    assert mixed.dtype == dtype
    assert torch.equal(mixed.double(), expected.to(dtype).double()) or dtype == torch.float32
    torch.testing.assert_close(mixed.double(), expected, rtol=2 * torch.finfo(dtype).eps, atol=1e-7)


@settings(max_examples=40, deadline=None, database=None, derandomize=True)
@given(st.integers(1, 6), st.floats(0, 1, width=32), st.integers(0, 2**31))
def test_mix_stays_between_and_is_symmetric(size: int, lam: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.rand(2, size, 3, 2, 2, generator=generator)
    mixed = mix(first, second, torch.tensor(lam))
    assert (mixed >= torch.minimum(first, second) - 1e-6).all()
    assert (mixed <= torch.maximum(first, second) + 1e-6).all()
    torch.testing.assert_close(mixed, mix(second, first, 1 - torch.tensor(lam)), rtol=0, atol=1e-6)
