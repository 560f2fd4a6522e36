"""Translation against NumPy's pad and slices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from evaluation_cases import by_key, context_of, random_backbone, random_feed

from bench.errors import BadInput
from bench.evals.translation import DIRECTIONS, Translation, translated

FEED = random_feed(24, 3, 8, 4)
NET = random_backbone(4, 8)


def moved_by_padding(images: np.ndarray, down: int, right: int, padding: str) -> np.ndarray:
    reach = max(abs(down), abs(right))
    sides = ((0, 0), (0, 0), (reach, reach), (reach, reach))
    padded = np.pad(images, sides, mode="reflect" if padding == "reflect" else "constant")
    height, width = images.shape[2:]
    return padded[:, :, reach - down : reach - down + height, reach - right : reach - right + width]


@pytest.mark.parametrize("padding", ["reflect", "zeros"])
@pytest.mark.parametrize(("down", "right"), [(0, 3), (-2, 0), (5, -5), (-4, -4), (1, 4)])
def test_images_are_those_of_padding_and_slicing(padding: str, down: int, right: int) -> None:
    images = np.random.default_rng(1).integers(0, 256, (2, 3, 6, 7), dtype=np.uint8)
    moved = translated(torch.from_numpy(images), down, right, padding)
    assert moved.dtype == torch.uint8
    np.testing.assert_array_equal(moved.numpy(), moved_by_padding(images, down, right, padding))


def test_a_positive_shift_moves_content_down_and_right() -> None:
    image = torch.zeros(1, 1, 5, 5, dtype=torch.uint8)
    image[0, 0, 1, 2] = 9
    assert translated(image, 3, 1, "zeros").nonzero().tolist() == [[0, 0, 4, 3]]


def test_eight_directions() -> None:
    assert len(set(DIRECTIONS)) == 8
    assert {max(abs(down), abs(right)) for down, right in DIRECTIONS} == {1}


@pytest.mark.parametrize("padding", ["reflect", "zeros"])
def test_accuracy_and_consistency_are_those_of_a_loop(padding: str) -> None:
    context = context_of(FEED, 4, NET)
    NET.eval()
    images = FEED.images.numpy()

    def predict(pictures: np.ndarray) -> list[int]:
        with torch.no_grad():
            tensor = torch.from_numpy(np.ascontiguousarray(pictures))
            return [int(NET(context.normalise(one[None])).argmax()) for one in tensor]

    plain = predict(images)
    expected = []
    for shift in (1, 5):
        right = same = 0
        for down in (-shift, 0, shift):
            for across in (-shift, 0, shift):
                if down or across:
                    moved = predict(moved_by_padding(images, down, across, padding))
                    right += sum(a == b for a, b in zip(moved, FEED.labels.tolist(), strict=True))
                    same += sum(a == b for a, b in zip(moved, plain, strict=True))
        expected += [right / (24 * 8), same / (24 * 8)]
    found = list(Translation(shifts=(1, 5), padding=padding).evaluate(context, {}))
    assert [metric.value for metric in found] == pytest.approx(expected)
    assert 0 < found[3].value < 1
    assert found[2].value != found[3].value


def test_resume_and_batch_size() -> None:
    evaluator = Translation(shifts=(1, 2))
    context = context_of(FEED, 4, NET)
    metrics = list(evaluator.evaluate(context, {}))
    assert [metric.key for metric in metrics] == evaluator.plan(context)
    assert list(Translation(shifts=(1, 2), batch_size=5).evaluate(context, {})) == metrics
    for known in range(5):
        assert list(evaluator.evaluate(context, by_key(metrics[:known]))) == metrics[known:]


def test_a_shift_of_the_whole_image_is_refused() -> None:
    with pytest.raises(BadInput, match="a shift of 8 px leaves nothing of 8 px images; the largest that works is 7"):
        list(Translation(shifts=(2, 8)).evaluate(context_of(FEED, 4, NET), {}))
    assert len(list(Translation(shifts=(7,)).evaluate(context_of(FEED, 4, NET), {}))) == 2


def test_a_few_images_a_class() -> None:
    positions = [at for at in range(24) if (FEED.labels[:at] == FEED.labels[at]).sum() < 3]
    few = context_of(type(FEED)(FEED.images[positions], FEED.labels[positions], FEED.resolution), 4, NET)
    found = list(Translation(shifts=(2,), per_class=3).evaluate(context_of(FEED, 4, NET), {}))
    assert found == list(Translation(shifts=(2,)).evaluate(few, {}))
    assert found != list(Translation(shifts=(2,)).evaluate(context_of(FEED, 4, NET), {}))
