"""AttentiveMix with the network's own attention against a loop over images and cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods import attentivemix_own
from methods.api import Batch, BatchShape, Draws, FeatureMap, mixed_loss
from methods.attentivemix_own import AttentiveMixOwn, most_attended
from methods.ops.keys import Key
from tests.oracle.mixing_checks import cross_entropy, normalise, photographs, shape_of
from tests.oracle.saliency_checks import check_mean_pixel_is_the_label, set_up, step

KEYS = [Key("attentivemix", number) for number in range(5)]


@settings(max_examples=25, deadline=None, database=None, derandomize=True)
@given(st.integers(1, 6), st.integers(1, 6), st.floats(0.01, 1), st.integers(0, 10**6))
def test_chosen_cells_are_the_largest(height: int, width: int, share: float, seed: int) -> None:
    attention = np.random.default_rng(seed).permuted(np.tile(np.arange(height * width), (2, 1)), axis=1)
    chosen = most_attended(torch.from_numpy(attention).float().view(2, height, width), share).numpy()
    count = max(1, round(share * height * width))
    np.testing.assert_array_equal(chosen.reshape(2, -1), attention >= height * width - count)


def check_images_equal_a_loop() -> None:
    images, labels = normalise(photographs(5, 3, 16, 24)), torch.tensor([0, 4, 2, 2, 1])
    method, net = set_up(AttentiveMixOwn(share=0.25), images)
    draws = method.draw(KEYS[0], shape_of(images))
    loss, mixed = step(method, net, (images,), labels, draws)
    expected = images.clone()
    for i in range(5):
        j = int(draws["permutation"][i])
        attention = net.features(images[j : j + 1]).spatial[0].mean(0)
        order = sorted(((attention[r, c].item(), r, c) for r in range(4) for c in range(6)), reverse=True)
        for _, r, c in order[:6]:
            expected[i, :, 4 * r : 4 * r + 4, 4 * c : 4 * c + 4] = images[j, :, 4 * r : 4 * r + 4, 4 * c : 4 * c + 4]
    assert torch.equal(mixed, expected)
    logits = net(expected)
    partner = cross_entropy(logits, labels[draws["permutation"]])
    torch.testing.assert_close(loss.total, (0.75 * cross_entropy(logits, labels) + 0.25 * partner).mean())
    assert loss.parts["share_kept"].item() == pytest.approx(0.75)


def test_images_equal_a_loop() -> None:
    check_images_equal_a_loop()


def test_attention_is_the_size_of_features_of_either_sign() -> None:
    images = normalise(photographs(2, 3, 8, 8))
    method, net = set_up(AttentiveMixOwn(share=0.25), images)
    features = torch.tensor([[[1.0, -9], [2, 3]], [[-2, 4], [-7, 5]]])[:, None].repeat(1, 6, 1, 1)
    features[0, 1:3, 0, 1] *= -1
    net.features = lambda images, stage=-1: FeatureMap(features, None)  # type: ignore[method-assign]
    draws = Draws(tensors={"applied": torch.tensor(True), "permutation": torch.tensor([1, 0])})
    pasted = method.guide(net, Batch((images,), torch.tensor([0, 1])), draws)["pasted"]  # type: ignore[arg-type]
    expected = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    expected[0, :, 4:, :4] = expected[1, :, :4, 4:] = True
    assert torch.equal(pasted, expected)


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (2, 1, 8, 12), (7, 3, 17, 9)])
def test_label_weight_is_the_pasted_area(shape: tuple[int, int, int, int]) -> None:
    """Also where cells are not all of the same size in pixels."""
    check_mean_pixel_is_the_label(AttentiveMixOwn(share=0.4), shape, KEYS)


def test_a_seven_by_seven_grid_keeps_43_of_49() -> None:
    images, labels = normalise(photographs(2, 3, 28, 28)), torch.tensor([0, 1])
    method, net = set_up(AttentiveMixOwn(), images)
    loss, _ = step(method, net, (images,), labels, method.draw(KEYS[0], shape_of(images)))
    assert loss.parts["share_kept"].item() == pytest.approx(43 / 49)


def test_unmixed_is_plain_training() -> None:
    images, labels = normalise(photographs(4, 3, 8, 12)), torch.tensor([0, 1, 2, 3])
    method, net = set_up(AttentiveMixOwn(probability=0.0), images)
    loss, mixed = step(method, net, (images,), labels, method.draw(KEYS[0], shape_of(images)))
    assert torch.equal(mixed, images)
    assert loss.total.item() == cross_entropy(net(images), labels).mean().item()


def test_probability_mixes_that_share_of_the_batches() -> None:
    half = [AttentiveMixOwn(probability=0.5).draw(Key(n), BatchShape(2, 3, 8, 8))["applied"] for n in range(400)]
    assert abs(sum(map(bool, half)) - 200) < 4 * 10


def test_a_single_cell_is_refused() -> None:
    method, net = set_up(AttentiveMixOwn(), photographs(2, 3, 16, 16))
    assert method.skip(net, method.task) is None
    _, coarse = set_up(AttentiveMixOwn(), photographs(2, 3, 16, 16), stride=16)
    assert "1x1" in str(method.skip(coarse, method.task))


def least_attended(attention: Tensor, share: float) -> Tensor:
    return most_attended(-attention, share)


@pytest.mark.parametrize(
    "fault",
    [
        ("most_attended", least_attended),
        ("most_attended", lambda attention, share: most_attended(attention, share).roll(1, 0)),
        ("most_attended", lambda attention, share: most_attended(attention, share).flip(1)),
        ("mixed_loss", lambda c, x, y, p, lam: mixed_loss(c, x, y, p, 1 - lam)),
        ("mixed_loss", lambda c, x, y, p, lam: mixed_loss(c, x, y, p.roll(1), lam)),
    ],
)
def test_a_fault_is_caught(fault: tuple[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attentivemix_own, *fault)
    with pytest.raises(AssertionError):
        check_images_equal_a_loop()
