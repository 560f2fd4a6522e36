"""What alignment can change: nothing to the first image under average pooling and a linear layer, and when it can."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from methods.alignmix import TO_FIRST, TO_SECOND, AlignMix
from methods.api import FeatureMap
from tests.oracle.alignmix_checks import DIRECTIONS, TinyBackbone, batch, draws, task, uneven_maps

WIDTH, CLASSES = 6, 5


class PositionNorm(nn.LayerNorm):
    """LayerNorm over the channels of each position of (B, C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def pooled(*before: nn.Module, after: tuple[nn.Module, ...] = ()) -> nn.Module:
    return nn.Sequential(*before, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *after, nn.Linear(WIDTH, CLASSES))


def losses_and_gradients(head: nn.Module, branch: str, **parameters: object) -> tuple[float, float]:
    """Relative difference, aligned against unaligned, of the loss and of the gradient of all weights."""
    found = []
    for aligned in (True, False):
        backbone = TinyBackbone(head)
        method = AlignMix(aligned=aligned, **parameters)
        method.setup(backbone, task())
        total = method.loss(backbone, batch(), draws(branch)).total
        gradient = torch.cat([g.flatten() for g in torch.autograd.grad(total, list(backbone.parameters()))])
        found.append((total.detach(), gradient))
    (value, gradient), (plain_value, plain_gradient) = found
    return (
        ((value - plain_value).abs() / plain_value.abs()).item(),
        ((gradient - plain_gradient).norm() / plain_gradient.norm()).item(),
    )


@pytest.mark.parametrize("stopping", ["fixed", "tolerance", "official"])
@pytest.mark.parametrize("epsilon", [1e-3, 0.1, 10.0])
def test_alignment_to_the_first_image_is_no_alignment_under_average_pooling(epsilon: float, stopping: str) -> None:
    value, gradient = losses_and_gradients(pooled(), TO_FIRST, epsilon=epsilon, stopping=stopping)
    assert value <= 3e-7
    assert gradient <= 5e-7


def test_alignment_to_the_second_image_is_no_alignment_once_rows_have_converged() -> None:
    value, gradient = losses_and_gradients(pooled(), TO_SECOND, epsilon=10.0, iterations=10000)
    assert value <= 1e-6
    assert gradient <= 2e-6


def test_alignment_to_the_second_image_matters_while_rows_have_not_converged() -> None:
    value, gradient = losses_and_gradients(pooled(), TO_SECOND, epsilon=1e-3)
    assert value > 1e-3
    assert gradient > 1e-2


@pytest.mark.parametrize("branch", DIRECTIONS)
@pytest.mark.parametrize(
    "before",
    [PositionNorm(WIDTH), nn.BatchNorm2d(WIDTH), nn.GELU(), nn.Conv2d(WIDTH, WIDTH, 3)],
    ids=lambda module: type(module).__name__,
)
def test_a_norm_a_non_linearity_or_a_block_after_the_mix_breaks_the_identity(before: nn.Module, branch: str) -> None:
    value, gradient = losses_and_gradients(pooled(before), branch, epsilon=0.5, iterations=5000)
    assert value > 1e-4
    assert gradient > 1e-3


def test_a_norm_after_the_pooling_keeps_the_identity() -> None:
    value, gradient = losses_and_gradients(pooled(after=(nn.LayerNorm(WIDTH),)), TO_FIRST)
    assert value <= 1e-6
    assert gradient <= 2e-6


def test_a_batch_norm_in_eval_mode_keeps_the_identity() -> None:
    value, gradient = losses_and_gradients(pooled(nn.BatchNorm2d(WIDTH).eval()), TO_FIRST)
    assert value <= 1e-6
    assert gradient <= 2e-6


@pytest.mark.parametrize("branch", DIRECTIONS)
def test_an_earlier_stage_breaks_the_identity(branch: str) -> None:
    value, gradient = losses_and_gradients(pooled(), branch, stage=0, epsilon=0.5, iterations=5000)
    assert value > 1e-4
    assert gradient > 1e-3


@pytest.mark.parametrize("branch", DIRECTIONS)
def test_a_head_that_reads_only_the_class_token_never_sees_alignment(branch: str) -> None:
    maps, token = uneven_maps(6, WIDTH, 9, "grid").view(6, WIDTH, 3, 3), uneven_maps(6, 1, WIDTH, "token")
    drawn = draws(branch)
    tokens = [
        AlignMix(aligned=aligned).mix_features(FeatureMap(maps, token), branch, drawn["permutation"], drawn["lam"])
        for aligned in (True, False)
    ]
    assert torch.equal(tokens[0].prefix, tokens[1].prefix)
    assert not torch.allclose(tokens[0].spatial, tokens[1].spatial)
