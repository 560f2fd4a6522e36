"""AlignMix's decoder: what it is trained on, that nothing else sees it, its sizes and its initial weights."""

from __future__ import annotations

import pytest
import torch

from methods.alignmix import INPUT, TO_FIRST, AlignMix
from methods.ops.decoder import Decoder
from tests.oracle.alignmix_checks import DIRECTIONS, TinyBackbone, batch, draws, task


def ready(**parameters: object) -> AlignMix:
    method = AlignMix(**parameters)
    method.setup(TinyBackbone(), task())
    return method


@pytest.mark.parametrize("branch", DIRECTIONS)
def test_decoder_reconstructs_clean_images_from_clean_maps(branch: str) -> None:
    backbone, data = TinyBackbone(), batch()
    method, plain = ready(decoder=True, reconstruction_weight=0.25, epsilon=5.0), ready(epsilon=5.0)
    drawn = draws(branch)
    result = method.loss(backbone, data, drawn)
    decoded = method.decoder(backbone.features(data.views[0]).spatial)
    assert decoded.shape == data.views[0].shape
    expected = ((decoded - data.views[0]) ** 2).mean()
    assert torch.allclose(result.parts["reconstruction"], expected)
    assert not result.parts["reconstruction"].requires_grad
    assert torch.allclose(result.total, plain.loss(backbone, data, drawn).total + 0.25 * expected)


def test_decoder_gets_no_gradient_where_the_encoder_sees_mixed_pixels() -> None:
    backbone, data = TinyBackbone(), batch()
    method = ready(decoder=True)
    result = method.loss(backbone, data, draws(INPUT))
    assert torch.equal(result.total, ready().loss(backbone, data, draws(INPUT)).total)
    result.total.backward()
    assert all(p.grad is not None and not p.grad.any() for p in method.parameters())
    method.zero_grad()
    method.loss(backbone, data, draws(TO_FIRST)).total.backward()
    assert all(p.grad is not None and p.grad.any() for p in method.parameters())


def test_decoder_weights_do_not_depend_on_or_move_the_global_random_state() -> None:
    states, backbone = [], TinyBackbone()
    for seed in (1, 2):
        method = AlignMix(decoder=True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            method.setup(backbone, task())
            assert torch.equal(torch.get_rng_state(), before)
        states.append(method.state_dict())
    assert states[0].keys() == states[1].keys()
    assert len(states[0]) > 4
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_decoder_joins_the_optimiser_and_the_checkpoint() -> None:
    method = ready(decoder=True)
    (group,) = method.param_groups()
    assert {id(p) for p in group["params"]} == {id(p) for p in method.decoder.parameters()}
    assert ready().param_groups() == []
    assert not ready().state_dict()
    other = ready(decoder=True)
    with torch.no_grad():
        next(method.parameters()).add_(1)
    other.load_state_dict(method.state_dict())
    assert torch.equal(next(other.parameters()), next(method.parameters()))


@pytest.mark.parametrize(
    ("reduction", "size", "shape"),
    [
        (1, (5, 7), (3, 5, 7)),
        (4, (7, 7), (1, 28, 28)),
        (14, (4, 4), (3, 56, 56)),
        (16, (2, 3), (3, 32, 48)),
        (32, (1, 1), (1, 28, 28)),
    ],
)
def test_decoder_gives_exactly_the_image_size(
    reduction: int, size: tuple[int, int], shape: tuple[int, int, int]
) -> None:
    decoder = Decoder(6, reduction, shape, 8, torch.Generator().manual_seed(0))
    images = decoder(torch.ones(2, 6, *size))
    assert images.shape == (2, *shape)
    assert images.isfinite().all()


def test_decoder_learns_to_reconstruct() -> None:
    backbone, data = TinyBackbone(width=12), batch()
    method = AlignMix(decoder=True)
    method.setup(backbone, task())
    optimiser = torch.optim.Adam([*backbone.parameters(), *method.parameters()], lr=3e-3)
    history = []
    for _ in range(60):
        optimiser.zero_grad()
        result = method.loss(backbone, data, draws(TO_FIRST))
        result.total.backward()
        optimiser.step()
        history.append(result.parts["reconstruction"].item())
    assert history[-1] < 0.8 * history[0]
