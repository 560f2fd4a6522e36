"""RecursiveMix against loops over images, pixels and soft labels in float64, over several steps."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from methods import recursivemix
from methods.api import Batch, BatchShape
from methods.ops.boxes import share_outside
from methods.ops.keys import Key
from methods.ops.resize_paste import nearest_into
from methods.recursivemix import HISTORY, LABELS, RecursiveMix, region_features
from tests.oracle.mixing_checks import CLASSES, shape_of
from tests.oracle.recursivemix_checks import batches, check_steps, set_up, slow_region, step


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
    small, large = batches(2), batches(4)
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
