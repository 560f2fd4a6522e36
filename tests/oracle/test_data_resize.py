"""Batched resizing of boxes against Pillow, to the last bit, against a loop over pixels and against torchvision."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import PIL
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2 import functional as vision

from bench.data import resize
from bench.data.axis_taps import PRECISION, axis_taps
from bench.data.resize import columns_first, equals_pillow, resize_batch
from bench.data.resize_plan import Cut, resize_plan
from tests.unit.data_folders import random_pixels

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
lengths = st.integers(1, 90)


def squares(
    pictures: list[np.ndarray], size: int, targets: list[tuple[int, int, int, int]] | None = None,
    flips: list[bool] | None = None, device: str = "cpu",
) -> np.ndarray:  # fmt: skip
    """What a batch of whole pictures (h, w, C) becomes, (B, size, size, C); targets: height, width, top, left."""
    stored, cuts, offset = [], [], 0
    for number, picture in enumerate(pictures):
        height, width = picture.shape[:2]
        to_height, to_width, top, left = targets[number] if targets else (size, size, 0, 0)
        exchanged = columns_first(height, width, to_height, to_width)
        stored.append((picture.swapaxes(0, 1) if exchanged else picture).reshape(-1, picture.shape[2]))
        stride = height if exchanged else width
        flip = bool(flips and flips[number])
        cuts.append(Cut(offset, stride, height, width, to_height, to_width, top, left, flip, exchanged))
        offset += height * width
    pixels = torch.from_numpy(np.concatenate(stored)).to(device)
    made = resize_batch(pixels, resize_plan(cuts, size).moved(lambda values: values.to(device)))
    return made.permute(0, 2, 3, 1).cpu().numpy()


def by_pillow(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    resized = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return resized.reshape(height, width, -1)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(lengths, lengths), min_size=1, max_size=6), st.integers(1, 40), st.sampled_from([1, 3]))
def test_every_size_gives_pillows_bytes(shapes: list[tuple[int, int]], size: int, channels: int) -> None:
    pictures = [random_pixels(number, *shape, channels) for number, shape in enumerate(shapes)]
    pictures[0] = np.where(pictures[0] > 127, 255, 0).astype(np.uint8)
    made = squares(pictures, size)
    for picture, square in zip(pictures, made, strict=True):
        assert np.array_equal(square, by_pillow(picture, size, size))


@pytest.mark.parametrize("device", DEVICES)
def test_squares_are_cut_and_mirrored_after_resizing(device: str) -> None:
    shapes = [(40, 60), (60, 40), (200, 31), (33, 150), (24, 24), (25, 24)]
    pictures = [random_pixels(number, *shape, 3) for number, shape in enumerate(shapes)]
    targets = [(24, 36, 0, 6), (36, 24, 5, 0), (154, 24, 65, 0), (24, 109, 0, 42), (24, 24, 0, 0), (25, 24, 1, 0)]
    flips = [True, False, True, False, True, False]
    made = squares(pictures, 24, targets, flips, device)
    for picture, square, (height, width, top, left), flip in zip(pictures, made, targets, flips, strict=True):
        whole = by_pillow(picture, height, width)[top : top + 24, left : left + 24]
        assert np.array_equal(square, whole[:, ::-1] if flip else whole)


def test_it_is_a_triangle_filter() -> None:
    """One axis against a loop in exact fractions: weights fall off to zero at the distance of one coarse pixel."""
    for length, target in ((7, 3), (3, 7), (5, 5), (97, 13), (1, 4), (10, 9)):
        taps = axis_taps(np.array([length]), np.array([target]), np.array([0]), target)
        scale = Fraction(length, target)
        reach = max(scale, Fraction(1))
        for pixel in range(target):
            centre = (pixel + Fraction(1, 2)) * scale - Fraction(1, 2)
            exact = [max(Fraction(0), 1 - abs(place - centre) / reach) for place in range(length)]
            found = [0] * length
            for step, weight in enumerate(taps.weights[:, 0, pixel].tolist()):
                if weight:
                    found[int(taps.first[0, pixel]) + step] = weight
            for wanted, given_weight in zip(exact, found, strict=True):
                assert abs(wanted / sum(exact) - Fraction(given_weight, 2**PRECISION)) <= Fraction(1, 2**PRECISION)


def test_no_further_than_one_level_from_torchvision_in_float() -> None:
    """Two roundings to a whole level, one after each pass, against none: 0.5 of the first and 0.5 of the second."""
    pictures = [random_pixels(number, height, width, 3) for number, (height, width) in enumerate([(80, 50), (20, 90)])]
    for picture, square in zip(pictures, squares(pictures, 32), strict=True):
        image = torch.from_numpy(picture).permute(2, 0, 1).double()
        height, width = picture.shape[:2]
        exact = vision.resized_crop(image, 0, 0, height, width, [32, 32], antialias=True)
        difference = (exact - torch.from_numpy(square).permute(2, 0, 1)).abs()
        assert float(difference.max()) <= 1.0 + 1e-4
        assert float(difference.mean()) < 0.4


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [random_pixels(number, 10 + 7 * number, 30, 3) for number in range(7)]
    whole = squares(pictures, 12)
    for values in (1, 12 * 3 * 40, 2**40):
        monkeypatch.setattr(resize, "CPU_VALUES", values)
        assert np.array_equal(squares(pictures, 12), whole)


def test_a_pillow_that_resizes_otherwise_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert equals_pillow()
    whole = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda image, size, _: whole(image, size, Image.Resampling.BICUBIC))
    assert not equals_pillow()
    monkeypatch.undo()
    other = "12.0.0" if int(PIL.__version__.partition(".")[0]) >= 13 else "13.0.0"
    monkeypatch.setattr(PIL, "__version__", other)
    assert not equals_pillow()


def test_weights_leave_no_room_for_an_overflow() -> None:
    """255 times the largest sum of weights, and a half, stays below 256 units."""
    for length, target in ((1, 224), (224, 224), (6000, 224), (5000, 3), (225, 224)):
        taps = axis_taps(np.array([length]), np.array([target]), np.array([0]), target)
        most = int(taps.weights.sum(axis=0, dtype=np.int64).max())
        assert math.floor((255 * most + 2 ** (PRECISION - 1)) / 2**PRECISION) == 255
        assert 255 * most + 2 ** (PRECISION - 1) < 2**31
        assert (taps.weights >= 0).all()
