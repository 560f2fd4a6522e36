"""Whole AugMix views against one image at a time through PIL."""

from __future__ import annotations

import pytest
import torch

from methods.augmix import AugMix
from methods.ops import augmix_operations
from methods.ops.keys import Key
from tests.oracle.augmix_checks import check_drawn_per_image, check_views_equal_pil
from tests.oracle.mixing_checks import check_normalised_once, normalise, photographs, shape_of

METHODS = {
    "default": AugMix(),
    "no jsd": AugMix(jsd=False),
    "strong and deep": AugMix(severity=10, depth=5, width=2),
    "ImageNet's": AugMix(severity=1),
    "one chain, one step": AugMix(width=1, depth=1, jsd=False),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("shape", [(6, 3, 32, 32), (1, 3, 20, 27), (5, 1, 28, 17)])
def test_views_equal_pil(name: str, shape: tuple[int, int, int, int]) -> None:
    for number in range(3):
        check_views_equal_pil(METHODS[name], photographs(*shape, seed=number), Key("views", number))


def test_large_images_equal_pil() -> None:
    check_views_equal_pil(AugMix(), photographs(2, 3, 224, 224), Key("large"))


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    images = photographs(9, 3, 16, 16)
    draws = AugMix().draw(Key("blocks"), shape_of(images))
    whole = AugMix().views(images, normalise, draws)
    monkeypatch.setattr(augmix_operations, "CACHED_VALUES", 2 * images[0].numel())
    assert all(torch.equal(a, b) for a, b in zip(AugMix().views(images, normalise, draws), whole, strict=True))


def test_no_step_gives_back_the_image() -> None:
    check_normalised_once(AugMix(depth=0))


def test_drawn_per_image() -> None:
    check_drawn_per_image(AugMix())
    check_drawn_per_image(AugMix(jsd=False))


def test_images_are_left_alone() -> None:
    images = photographs(4, 3, 16, 16)
    kept = images.clone()
    AugMix().views(images, normalise, AugMix().draw(Key(0), shape_of(images)))
    assert torch.equal(images, kept)
