"""Faults that public implementations have or had, patched in: each must be caught by the check that is named for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from methods import augmix, cutmix, manifold_mixup, mixup
from methods.api import BatchShape, Criterion, Draws, Method, mixed_loss
from methods.augmix import AugMix
from methods.cutmix import CutMix
from methods.erm import Erm
from methods.manifold_mixup import ManifoldMixup
from methods.mixup import Mixup
from methods.ops import jensen_shannon
from methods.ops.augmix_plan import Plan, draw_plan
from methods.ops.boxes import draw_box
from methods.ops.keys import Key
from tests.oracle.augmix_checks import check_drawn_per_image, check_loss_equals_timm, check_views_equal_pil
from tests.oracle.mixing_checks import (
    check_against_timm,
    check_label_follows_image,
    check_normalised_once,
    photographs,
)

KEYS = [Key("faults", number) for number in range(10)]
SHAPE = (6, 1, 12, 9)
MIXING = {"mixup": (mixup, Mixup), "cutmix": (cutmix, CutMix), "manifold_mixup": (manifold_mixup, ManifoldMixup)}


def caught(check: Callable[[], object]) -> None:
    with pytest.raises(AssertionError):
        check()


def build(name: str) -> Method:
    return ManifoldMixup(deepest_stage=0) if name == "manifold_mixup" else MIXING[name][1]()


def swapped_lam(criterion: Criterion, logits: Tensor, labels: Tensor, permutation: Tensor, lam: Tensor) -> Tensor:
    return mixed_loss(criterion, logits, labels, permutation, 1 - lam)


def labels_not_permuted(
    criterion: Criterion, logits: Tensor, labels: Tensor, permutation: Tensor, lam: Tensor
) -> Tensor:
    return mixed_loss(criterion, logits, labels, torch.arange(len(labels)), lam)


@pytest.mark.parametrize("name", MIXING)
@pytest.mark.parametrize("fault", [swapped_lam, labels_not_permuted])
def test_wrong_label_is_caught(name: str, fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check_label_follows_image(build(name), SHAPE, KEYS)
    monkeypatch.setattr(MIXING[name][0], "mixed_loss", fault)
    caught(lambda: check_label_follows_image(build(name), SHAPE, KEYS))


@pytest.mark.parametrize("fault", [swapped_lam, labels_not_permuted])
def test_wrong_label_differs_from_timm(fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = Draws(tensors={"lam": torch.tensor(0.3), "permutation": torch.arange(6).flip(0)})
    monkeypatch.setattr(mixup, "mixed_loss", fault)
    caught(lambda: check_against_timm(Mixup(), draws, 0.3, box=None))
    box = (0, 4, 2, 9)
    draws = Draws(tensors={"box": torch.tensor(box), "permutation": torch.arange(6).flip(0)})
    monkeypatch.setattr(cutmix, "mixed_loss", fault)
    caught(lambda: check_against_timm(CutMix(), draws, 0.3, box))


def test_cutmix_weight_of_the_unclipped_box_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []

    def remembering(key: Key, lam: float, height: int, width: int) -> Tensor:
        drawn.append(lam)
        return draw_box(key, lam, height, width)

    shape = (6, 1, 64, 64)
    check_label_follows_image(CutMix(), shape, KEYS)
    monkeypatch.setattr(cutmix, "draw_box", remembering)
    monkeypatch.setattr(cutmix, "share_outside", lambda box, height, width: torch.tensor(drawn[-1]))
    caught(lambda: check_label_follows_image(CutMix(), shape, KEYS))


def test_height_and_width_swapped_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def transposed(images: Tensor, partners: Tensor, box: Tensor) -> Tensor:
        top, bottom, left, right = box.tolist()
        mixed = images.clone()
        mixed[:, :, left:right, top:bottom] = partners[:, :, left:right, top:bottom]
        return mixed

    monkeypatch.setattr(cutmix, "paste", transposed)
    caught(lambda: check_label_follows_image(CutMix(), SHAPE, KEYS))


@pytest.mark.parametrize("jsd", [True, False])
def test_augmix_chains_drawn_per_batch_are_caught(jsd: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def of_the_first_image(generator: np.random.Generator, chains: int, **options: Any) -> Plan:
        plan = draw_plan(generator, chains, **options)
        first = np.arange(chains) // 12 * 12
        changed = {name: getattr(plan, name)[:, first] for name in ("operation", "level", "sign")}
        return Plan(depth=plan.depth[first], **changed)

    check_drawn_per_image(AugMix(jsd=jsd))
    monkeypatch.setattr(augmix, "draw_plan", of_the_first_image)
    caught(lambda: check_drawn_per_image(AugMix(jsd=jsd)))


@pytest.mark.parametrize("name", ["weights", "m"])
def test_augmix_weights_drawn_per_batch_are_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = AugMix.draw

    def shared(self: AugMix, key: Key, shape: BatchShape) -> Draws:
        tensors = dict(draw(self, key, shape).tensors)
        tensors[name] = tensors[name][..., :1].expand_as(tensors[name])
        return Draws(tensors=tensors)

    monkeypatch.setattr(AugMix, "draw", shared)
    caught(lambda: check_drawn_per_image(AugMix()))


def test_augmix_view_drawn_twice_alike_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = AugMix.draw

    def same_views(self: AugMix, key: Key, shape: BatchShape) -> Draws:
        tensors = dict(draw(self, key, shape).tensors)
        half = len(tensors["results"]) // 2
        tensors["results"] = tensors["results"][:half].repeat(2)
        tensors["weights"], tensors["m"] = (
            tensors[name][:1].repeat(2, *[1] * n) for name, n in (("weights", 2), ("m", 1))
        )
        return Draws(tensors=tensors)

    monkeypatch.setattr(AugMix, "draw", same_views)
    caught(lambda: check_drawn_per_image(AugMix()))


def test_augmix_mixed_with_swapped_strength_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    views = AugMix.views

    def swapped(self: AugMix, images: Tensor, normalise: Any, draws: Draws) -> tuple[Tensor, ...]:
        return views(self, images, normalise, Draws(tensors={**draws.tensors, "m": 1 - draws["m"]}))

    check_views_equal_pil(AugMix(), photographs(3, 3, 12, 12), Key(0))
    monkeypatch.setattr(AugMix, "views", swapped)
    caught(lambda: check_views_equal_pil(AugMix(), photographs(3, 3, 12, 12), Key(0)))


def test_divergence_summed_instead_of_averaged_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = jensen_shannon.jensen_shannon
    monkeypatch.setattr(jensen_shannon, "jensen_shannon", lambda logits: 3 * right(logits))
    caught(lambda: check_loss_equals_timm(AugMix()))


@pytest.mark.parametrize("method", [Erm, Mixup, CutMix, ManifoldMixup, lambda: AugMix(depth=0)])
def test_normalising_twice_is_caught(method: Callable[[], Method]) -> None:
    check_normalised_once(method())
    faulty = method()
    views = faulty.views
    faulty.views = lambda images, normalise, draws: views(images, lambda x: normalise(normalise(x)), draws)  # type: ignore[method-assign]
    caught(lambda: check_normalised_once(faulty))
