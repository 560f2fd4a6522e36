"""RecursiveMix against loops over images, pixels and soft labels in float64, over several steps."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods import recursivemix
from methods.api import Batch, BatchShape, Edit, FeatureMap, Loss, Task, guided
from methods.ops.boxes import share_outside
from methods.ops.keys import Key
from methods.ops.resize_paste import nearest_into
from methods.recursivemix import HISTORY, LABELS, RecursiveMix, region_features
from tests.oracle.mixing_checks import CLASSES, cross_entropy, normalise, photographs, shape_of

LABELS_OF = [torch.tensor(labels) for labels in ([0, 4, 2, 2], [1, 0, 3, 4], [2, 2, 1, 0], [4, 3, 0, 1])]


class Pooled(nn.Module):
    """Features are means of 2 x 2 pixels, logits a linear map of their mean; keeps the batches that it sees."""

    num_classes = CLASSES
    stages = ("only",)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(CLASSES, 3, generator=torch.Generator().manual_seed(2)))
        self.seen: list[Tensor] = []

    def features(self, images: Tensor, stage: int = -1) -> FeatureMap:
        self.seen.append(images.detach())
        return FeatureMap(F.avg_pool2d(images, 2), None)

    def head(self, features: FeatureMap) -> Tensor:
        return features.spatial.mean((2, 3)) @ self.weight.T

    def forward(self, images: Tensor, edit: Mapping[int, Edit] | None = None) -> Tensor:
        return self.head(self.features(images))

    def width(self, stage: int = -1) -> int:
        return 3

    @contextlib.contextmanager
    def probe(self) -> Iterator[None]:
        yield


def batches(height: int = 12, width: int = 16, size: int = 4) -> list[Batch]:
    return [
        Batch((normalise(photographs(size, 3, height, width, seed)),), labels[:size])
        for seed, labels in enumerate(LABELS_OF)
    ]


def set_up(**settings: Any) -> tuple[RecursiveMix, Pooled]:
    method, backbone = RecursiveMix(**settings), Pooled()
    method.setup(backbone, Task(CLASSES, cross_entropy, (3, 12, 16)))  # type: ignore[arg-type]
    return method, backbone


def step(method: RecursiveMix, backbone: Pooled, batch: Batch, key: Key) -> Loss:
    draws = method.draw(key, shape_of(batch.views[0]))
    loss = method.loss(backbone, batch, guided(method, backbone, batch, draws))  # type: ignore[arg-type]
    method.remember(batch, loss.carry)
    return loss


def slow_region(features: np.ndarray, top: float, bottom: float, left: float, right: float) -> np.ndarray:
    """RoIAlign with one bin, for features (C, h, w) and a box in positions of the feature map."""
    rows, columns = math.ceil(bottom - top), math.ceil(right - left)
    total = np.zeros(len(features))
    for i in range(rows):
        for j in range(columns):
            y = top - 0.5 + (i + 0.5) * (bottom - top) / rows
            x = left - 0.5 + (j + 0.5) * (right - left) / columns
            y, x = max(y, 0.0), max(x, 0.0)
            upper, first = min(int(y), features.shape[1] - 1), min(int(x), features.shape[2] - 1)
            lower, second = min(upper + 1, features.shape[1] - 1), min(first + 1, features.shape[2] - 1)
            down, along = min(y - upper, 1.0) * (lower > upper), min(x - first, 1.0) * (second > first)
            total += (1 - down) * ((1 - along) * features[:, upper, first] + along * features[:, upper, second])
            total += down * ((1 - along) * features[:, lower, first] + along * features[:, lower, second])
    return total / max(rows * columns, 1)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())


def check_steps(**settings: Any) -> None:
    """Four steps: images, losses and shares, with dense soft labels and no history but that of this loop."""
    method, backbone = set_up(**settings)
    weight = backbone.weight.detach().double().numpy()
    head = {name: value.detach().double().numpy() for name, value in method.region_head.named_parameters()}
    past: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for number, batch in enumerate(batches()):
        key = Key("steps", number)
        top, bottom, left, right = method.draw(key, shape_of(batch.views[0]))["box"].tolist()
        backbone.seen.clear()
        loss = step(method, backbone, batch, key)
        lam = 1 - (bottom - top) * (right - left) / (12 * 16)
        total, now = 0.0, []
        for image, (own, label) in enumerate(zip(batch.views[0].double().numpy(), batch.labels.tolist(), strict=True)):
            if past:
                before, before_label, before_prediction = past[image]
            else:
                before, before_label = own, np.eye(CLASSES)[label]
                before_prediction = np.exp(log_softmax(weight @ own.mean((1, 2))))
            mixed = own.copy()
            for row in range(top, bottom):
                for column in range(left, right):
                    source = (row - top) * 12 // (bottom - top), (column - left) * 16 // (right - left)
                    mixed[:, row, column] = before[:, source[0], source[1]]
            np.testing.assert_allclose(backbone.seen[-1][image].numpy(), mixed, rtol=0, atol=1e-5)
            soft = lam * np.eye(CLASSES)[label] + (1 - lam) * before_label
            logits = log_softmax(weight @ mixed.mean((1, 2)))
            features = mixed.reshape(3, 6, 2, 8, 2).mean((2, 4))
            region = head["weight"] @ slow_region(features, top / 2, bottom / 2, left / 2, right / 2) + head["bias"]
            total -= soft @ logits + method.omega * (1 - lam) * (before_prediction @ log_softmax(region))
            now.append((mixed, soft, np.exp(logits)))
        past = now
        assert loss.total.item() == pytest.approx(total / 4, rel=1e-4)
        assert loss.parts["share_kept"].item() == pytest.approx(lam, abs=1e-6)


@pytest.mark.parametrize("omega", [0.0, 0.1, 2.0])
def test_four_steps_equal_loops(omega: float) -> None:
    check_steps(omega=omega)


def test_region_equals_a_loop_over_samples() -> None:
    features = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    for box in ([0, 20, 0, 28], [3, 9, 2, 27], [19, 20, 0, 1], [0, 1, 27, 28], [7, 7, 3, 9], [0, 13, 5, 6]):
        ours = region_features(features, torch.tensor(box), 20, 28).numpy()
        expected = [slow_region(one, *(edge / 4 for edge in box)) for one in features.double().numpy()]
        np.testing.assert_allclose(ours, np.stack(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 11), (1, 3)])
def test_nearest_equals_a_loop(height: int, width: int) -> None:
    images = torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(0))
    for bottom in range(1, height + 1):
        for left in range(width):
            canvas = nearest_into(images, torch.tensor([0, bottom, left, width]))
            for row in range(bottom):
                for column in range(left, width):
                    source = images[:, :, row * height // bottom, (column - left) * width // (width - left)]
                    assert torch.equal(canvas[:, :, row, column], source)


def test_label_weight_is_the_mean_pixel_over_many_steps() -> None:
    """Images of one value, which is their label: the mixed image's mean is the mixed label's mean, step after step."""
    method, backbone = set_up()
    generator = torch.Generator().manual_seed(0)
    for number in range(40):
        labels = torch.randint(0, CLASSES, (3,), generator=generator)
        images = labels.float().view(-1, 1, 1, 1).expand(3, 3, 64, 64).clone()
        loss = step(method, backbone, Batch((images,), labels), Key("pixels", number))
        expected = (loss.carry["past_labels"] * loss.carry["past_weights"]).sum(0)
        torch.testing.assert_close(loss.carry["past_weights"].sum(0), torch.ones(3))
        own = loss.parts["share_kept"]
        torch.testing.assert_close(loss.carry["past_weights"][0], own.expand(3))
        # Nearest pixels keep the value of a past region only up to the shrinking of its outline.
        assert (backbone.seen[-1].mean((1, 2, 3)) - expected).abs().max() < 0.12


def test_mean_share_kept() -> None:
    """With u = sqrt(s) the clipped side is u - u^2 / 4 on average; the mean of its square over s in [0, 1/2]."""
    expected = 1 - 2 * (0.5**2 / 2 - 0.5**2.5 / 5 + 0.5**3 / 48)
    assert expected == pytest.approx(0.8155, abs=1e-4)
    shape = BatchShape(1, 3, 64, 64)
    boxes = [RecursiveMix().draw(Key("mean", number), shape)["box"] for number in range(4000)]
    shares = [share_outside(box, 64, 64).item() for box in boxes]
    assert abs(np.mean(shares) - expected) < 4 * np.std(shares) / 4000**0.5


def test_a_resumed_run_goes_on_as_if_it_had_not_stopped() -> None:
    method, backbone = set_up()
    first, second, third, _ = batches()
    for number, batch in enumerate((first, second)):
        step(method, backbone, batch, Key("resume", number))
    resumed, _ = set_up()
    resumed.load_state_dict(copy.deepcopy(method.state_dict()))
    losses = [step(one, backbone, third, Key("resume", 2)).total for one in (method, resumed)]
    assert torch.equal(losses[0], losses[1])
    fresh, _ = set_up()
    assert step(fresh, backbone, third, Key("resume", 2)).total != losses[0]


def test_smaller_and_larger_batches() -> None:
    method, backbone = set_up()
    small, large = batches(size=2), batches(size=4)
    step(method, backbone, large[0], Key("size", 0))
    kept = method.past_images.clone()
    draws = method.draw(Key("size", 1), shape_of(small[1].views[0]))
    guide = method.guide(backbone, small[1], draws)  # type: ignore[arg-type]
    assert torch.equal(guide["past_images"], kept[:2])
    step(method, backbone, small[1], Key("size", 1))
    guide = method.guide(backbone, large[2], draws)  # type: ignore[arg-type]
    assert torch.equal(guide["past_images"], large[2].views[0])
    assert guide["past_labels"].shape == (LABELS, 4)


def test_the_past_is_kept_by_copy_and_detached() -> None:
    method, backbone = set_up()
    loss = step(method, backbone, batches()[0], Key(0))
    for name in HISTORY:
        kept = getattr(method, name)
        assert not kept.requires_grad
        assert kept.data_ptr() != loss.carry[name].data_ptr()


def test_planted_faults_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    push, region, nearest, share = (
        recursivemix.pushed,
        recursivemix.region_features,
        recursivemix.nearest_into,
        recursivemix.share_outside,
    )
    remember = RecursiveMix.remember

    def unmixed(self: RecursiveMix, batch: Batch, carry: Mapping[str, Tensor]) -> None:
        remember(self, batch, {**carry, "past_images": batch.views[0]})

    def last_label_only(weights: Tensor, lam: Tensor) -> Tensor:
        return push(torch.eye(LABELS)[0, :, None].expand_as(weights), lam)

    faults: dict[str, tuple[object, str, Any]] = {
        "lam swapped": (recursivemix, "share_outside", lambda *box: 1 - share(*box)),
        "past label taken as one-hot": (recursivemix, "pushed", last_label_only),
        "box not scaled to the features": (recursivemix, "region_features", lambda f, box, h, w: region(f, box, 6, 8)),
        "row and column swapped": (
            recursivemix,
            "region_features",
            lambda f, box, h, w: region(f, box[[2, 3, 0, 1]], h, w),
        ),
        "cut instead of shrunk": (recursivemix, "nearest_into", lambda images, box: images),
        "pasted from another image": (
            recursivemix,
            "nearest_into",
            lambda images, box: nearest(images.roll(1, 0), box),
        ),
        "unmixed images kept": (RecursiveMix, "remember", unmixed),
        "nothing kept": (RecursiveMix, "remember", lambda self, batch, carry: None),
    }
    check_steps()
    for place, name, fault in faults.values():
        with monkeypatch.context() as patched:
            patched.setattr(place, name, fault)
            with pytest.raises(AssertionError):
                check_steps()
