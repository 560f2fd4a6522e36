"""One lam an image: each image is what the form with one lam a batch makes of it, given its own draws."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from bench.backbones.adapter import TimmBackbone
from bench.backbones.build import build_backbone
from bench.spec import BackboneSpec
from methods import gridmixup, resizemix
from methods.alignmix import AlignMix
from methods.api import Batch, BatchShape, Draws, Loss, Method, Task, guided
from methods.fmix import FMix
from methods.gridmixup import GridMixup
from methods.manifold_mixup import ManifoldMixup
from methods.nfm import NoisyFeatureMixup
from methods.ops.keys import Key
from methods.ops.resize_paste import shrunk_into_each
from methods.resizemix import ResizeMix
from methods.saliencymix import SaliencyMix
from tests.contract.contract_cells import NoHostSync
from tests.oracle.mixing_checks import CLASSES, check_one_graph, cross_entropy, normalise, photographs, shape_of

METHODS: dict[str, Any] = {
    "fmix": FMix,
    "gridmixup": GridMixup,
    "resizemix": ResizeMix,
    "saliencymix": SaliencyMix,
    "saliencymix, half": functools.partial(SaliencyMix, probability=0.5),
    "manifold_mixup": ManifoldMixup,
    "nfm": functools.partial(NoisyFeatureMixup, deepest_stage=2),
    "alignmix": functools.partial(AlignMix, iterations=20),
}
SHARED = ("permutation", "seeds", "levels")
"""Draws that a batch has in common."""
IMAGES = st.tuples(st.integers(1, 5), st.sampled_from([1, 3]), st.sampled_from([64, 96]), st.sampled_from([64, 80]))


@functools.cache
def net(channels: int) -> TimmBackbone:
    backbone = build_backbone(BackboneSpec(name="test_resnet"), CLASSES, channels, 64, seed=0)
    backbone.eval()
    return backbone


def step(method: Method, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Loss]:
    """The logits of the mixed batch (B, K), and the loss; neither guide nor loss may wait for the device."""
    seen: list[Tensor] = []

    def criterion(logits: Tensor, labels: Tensor) -> Tensor:
        seen.append(logits.detach())
        return cross_entropy(logits, labels)

    backbone = net(images.shape[1])
    method.setup(backbone, Task(CLASSES, criterion, tuple(images.shape[1:])))  # type: ignore[arg-type]
    batch = Batch(method.views(images, normalise, draws), labels)
    with torch.no_grad(), NoHostSync():
        loss = method.loss(backbone, batch, guided(method, backbone, batch, draws))
    return seen[0], loss


def check_each_image(name: str, shape: tuple[int, int, int, int], seed: int, lam: float | None) -> None:
    size, images = shape[0], photographs(*shape, seed=seed % 7)
    labels = torch.arange(size) % CLASSES
    method, whole = METHODS[name](lam_per="sample"), METHODS[name]()
    draws = method.draw(Key("each", seed), shape_of(images))
    if lam is not None and "lam" in draws.tensors:
        draws = Draws(draws.branch, {**draws.tensors, "lam": torch.full_like(draws["lam"], lam)})
    logits, loss = step(method, images, labels, draws)
    partners, total, shares = draws["permutation"].tolist(), 0.0, []
    for image in range(size):
        own = {key: value if key in SHARED else value[image] for key, value in draws.tensors.items()}
        theirs, one = step(whole, images, labels, Draws(draws.branch, own))
        torch.testing.assert_close(logits[image], theirs[image], rtol=1e-4, atol=1e-5)
        shares.append(one.parts["share_kept"].item())
        log_p = torch.log_softmax(theirs[image].double(), 0)
        total -= shares[-1] * log_p[labels[image]].item() + (1 - shares[-1]) * log_p[labels[partners[image]]].item()
    assert loss.total.item() == pytest.approx(total / size, rel=1e-4)
    assert loss.parts["share_kept"].item() == pytest.approx(sum(shares) / size, abs=1e-5)


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=8, deadline=None, database=None, derandomize=True)
@given(IMAGES, st.integers(0, 10**6), st.sampled_from([None, 0.0, 1.0]))
def test_each_image_is_mixed_by_its_own_draws(
    name: str, shape: tuple[int, int, int, int], seed: int, lam: float | None
) -> None:
    check_each_image(name, shape, seed, lam)


@pytest.mark.parametrize("name", METHODS)
def test_draws_of_one_batch_are_those_of_as_many_batches(name: str) -> None:
    """By what sets the share: lam, kept pixels, the box's area, or the grid's hole in its cell."""

    def value(draws: Draws) -> Tensor:
        if "lam" in draws.tensors:
            return draws["lam"]
        if "kept" in draws.tensors:
            return draws["kept"]
        if "box" in draws.tensors:
            return (draws["box"][..., 1] - draws["box"][..., 0]) * (draws["box"][..., 3] - draws["box"][..., 2])
        return draws["grid"][..., 5] / draws["grid"][..., 4]

    shape = BatchShape(600, 1, 32, 40)
    each = value(METHODS[name](lam_per="sample").draw(Key("one batch"), shape))
    again = value(METHODS[name](lam_per="sample").draw(Key("one batch"), shape))
    many = torch.stack([value(METHODS[name]().draw(Key("batch", n), shape._replace(size=1))) for n in range(600)])
    assert each.shape == many.shape == (600,)
    assert torch.equal(each, again)
    assert stats.ks_2samp(each.numpy(), many.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("name", ["fmix", "saliencymix", "manifold_mixup", "nfm", "alignmix"])
def test_alpha_zero_keeps_every_label(name: str) -> None:
    images, labels = photographs(4, 3, 64, 64), torch.arange(4)
    method = METHODS[name](lam_per="sample", alpha=0.0)
    _, loss = step(method, images, labels, method.draw(Key(0), shape_of(images)))
    assert loss.parts["share_kept"] == 1


@pytest.mark.parametrize("name", ["gridmixup", "resizemix", "saliencymix"])
def test_compiles_to_one_graph(name: str) -> None:
    check_one_graph(METHODS[name](lam_per="sample"), photographs(3, 3, 8, 8), [Key("graph", n) for n in range(4)])


def test_faults_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    case = ((4, 3, 64, 80), 3, None)
    for name in ("resizemix", "gridmixup"):
        check_each_image(name, *case)
    grids, areas = gridmixup.grid_mask, resizemix.shares_outside

    def grid_of_the_first(grid: Tensor, *size: int) -> Tensor:
        return grids(grid[:1].expand_as(grid) if grid.dim() == 2 else grid, *size)

    faults: dict[str, tuple[str, Any, str, Any]] = {
        "boxes of other images": (
            "resizemix",
            resizemix,
            "shrunk_into_each",
            lambda images, boxes: shrunk_into_each(images, boxes.roll(1, 0)),
        ),
        "the mean share for all": (
            "resizemix",
            resizemix,
            "shares_outside",
            lambda *given: areas(*given).mean().expand(4),
        ),
        "one grid for all": ("gridmixup", gridmixup, "grid_mask", grid_of_the_first),
    }
    for name, owner, attribute, fault in faults.values():
        with monkeypatch.context() as patched:
            patched.setattr(owner, attribute, fault)
            with pytest.raises(AssertionError):
                check_each_image(name, *case)
