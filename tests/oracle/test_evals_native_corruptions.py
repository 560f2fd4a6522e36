"""Small-image corruptions against SciPy and NumPy, and what makes them comparable between runs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from bench.data.resident import ResidentEval
from bench.errors import BadInput
from bench.evals import native_corruptions as native
from bench.evals.api import Context, Transform
from bench.evals.draws import ImageDraws
from methods.ops.keys import Key


def normalise(images: Tensor) -> Tensor:
    return (images.float() / 255 - 0.25) / 0.5


def random_feed(size: int, channels: int, side: int, classes: int) -> ResidentEval:
    generator = np.random.default_rng(5)
    images = torch.from_numpy(generator.integers(0, 256, (size, channels, side, side), dtype=np.uint8))
    return ResidentEval(images, torch.from_numpy(generator.integers(0, classes, size)), side)


def context_of(feed: ResidentEval, classes: int, net: nn.Module | None = None) -> Context:
    if net is None:
        inputs = feed.images[0].numel()
        net = nn.Sequential(nn.Flatten(), nn.Linear(inputs, classes))
        generator = np.random.default_rng(6)
        net[1].weight.data = torch.from_numpy(generator.normal(size=(classes, inputs)) / inputs**0.5).float()
        net[1].bias.data = torch.from_numpy(generator.normal(size=classes) / 10).float()
    return Context(net, normalise, {"test": feed}, classes, torch.device("cpu"), seed=0)


class Counting(ResidentEval):
    """Counts the images it has served."""

    seen = 0

    def batches(self, batch_size: int, transform: Transform | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in super().batches(batch_size, transform):
            self.seen += len(images)
            yield images, labels


DEVIATION = torch.full((1, 1, 1), 0.4)
_PLAIN = random_feed(40, 1, 8, 4)
FEED = Counting(_PLAIN.images, _PLAIN.labels, 8)


def reference(corruption: str, severity: int) -> tuple[Tensor, np.ndarray]:
    """Images that the transform made, and the same by NumPy and SciPy one image at a time, before rounding."""
    images, index = FEED.images, torch.arange(40)
    ours = native.transform(corruption, severity, 9, DEVIATION)(images, index)
    strength = native.STRENGTHS[corruption][severity - 1]
    draws = ImageDraws(Key(9, "native corruptions", corruption, severity), index)
    pixels = images[:, 0].numpy() / 255
    if corruption == "gaussian_noise":
        expected = pixels + 0.4 * strength * draws.normal("noise", 1, 8, 8)[:, 0].numpy()
    elif corruption == "gaussian_blur":
        expected = np.stack([ndimage.gaussian_filter(image, strength, mode="nearest") for image in pixels])
    elif corruption == "contrast":
        expected = np.stack([image.mean() + strength * (image - image.mean()) for image in pixels])
    elif corruption == "pixel_dropout":
        expected = np.where(draws.uniform("dropped", 1, 8, 8)[:, 0].numpy() < strength, 0, pixels)
    else:
        shifts = -strength * (2 * draws.uniform("shift", 2).numpy() - 1)[:, ::-1]
        expected = np.stack(
            [
                ndimage.shift(image, shift, order=1, mode="grid-constant")
                for image, shift in zip(pixels, shifts, strict=True)
            ]
        )
    return ours[:, 0], expected.clip(0, 1) * 255


@pytest.mark.parametrize("severity", [1, 5])
@pytest.mark.parametrize("corruption", sorted(native.STRENGTHS))
def test_operations(corruption: str, severity: int) -> None:
    ours, expected = reference(corruption, severity)
    assert np.abs(ours.numpy() - expected).max() < 0.5 + 1e-3
    assert np.abs(ours.numpy() - FEED.images[:, 0].numpy().astype(float)).mean() > 0.5


def test_dropout_rate_and_shift_range() -> None:
    draws = ImageDraws(Key(1), torch.arange(2000))
    kept = native.pixel_dropout(torch.ones(2000, 3, 8, 8), 0.2, draws, DEVIATION)
    assert 1 - kept.mean().item() == pytest.approx(0.2, abs=0.005)
    assert torch.equal(kept[:, 0], kept[:, 2])


@pytest.mark.parametrize("corruption", sorted(native.STRENGTHS))
def test_batch_size_and_order_change_nothing(corruption: str) -> None:
    change = native.transform(corruption, 4, 0, DEVIATION)
    whole = change(FEED.images, torch.arange(40))
    order = torch.tensor([30, 2, 17])
    assert torch.equal(change(FEED.images[order], order), whole[order])


def test_evaluation_resumes_and_does_not_depend_on_the_run_seed() -> None:
    evaluator = native.NativeCorruptions(corruptions=("gaussian_noise", "contrast"), severities=(1, 5), batch_size=16)
    context = context_of(FEED, 4)
    metrics = list(evaluator.evaluate(context, {}))
    assert [metric.key for metric in metrics] == evaluator.plan(context)
    assert metrics[-1].value == pytest.approx(sum(metric.value for metric in metrics[:4]) / 4)
    done = {metric.key: metric.value for metric in metrics[:3]}
    FEED.seen = 0
    assert list(evaluator.evaluate(context, done)) == metrics[3:]
    assert FEED.seen == 40
    other = native.NativeCorruptions(corruptions=("gaussian_noise", "contrast"), severities=(1, 5), batch_size=7)
    assert list(other.evaluate(context, {})) == metrics


def test_deviation_is_read_off_the_normaliser() -> None:
    assert native.pixel_deviation(context_of(random_feed(3, 3, 8, 2), 2), 3).flatten().tolist() == pytest.approx(
        [0.5] * 3
    )


def test_larger_images_are_refused() -> None:
    with pytest.raises(BadInput, match="at most 16 px, these are 32x32 px; use 'corruptions'"):
        list(native.NativeCorruptions().evaluate(context_of(random_feed(2, 1, 32, 2), 2), {}))
