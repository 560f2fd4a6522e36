"""Where one training image is cut and how it is resized, told without its pixels."""

from __future__ import annotations

from typing import NamedTuple

from bench.data.decode import fitted
from bench.data.draws import CropDraws, draw_crops
from bench.spec import DataSpec
from methods.ops.keys import Key


class Placement(NamedTuple):
    """box: left, top, width, height in the decoded image, resized to target_width x target_height; of that the square
    from `left` and `top` on is kept."""

    box: tuple[int, int, int, int]
    target_width: int
    target_height: int
    left: int
    top: int
    draws: CropDraws


def placement(width: int, height: int, data: DataSpec, key: Key) -> Placement:
    """The random numbers of `key` for a decoded image of this size, and what they mean; as in training_crop."""
    size = data.resolution
    if data.crop == "random_resized":
        draws = draw_crops(key, data, 1, height, width)
        assert draws.boxes is not None
        box_top, box_left, box_height, box_width = draws.boxes[0].tolist()
        return Placement((box_left, box_top, box_width, box_height), size, size, 0, 0, draws)
    draws = draw_crops(key, data, 1, size, size)
    target_width, target_height, left, top = fitted(width, height, size, size)
    return Placement((0, 0, width, height), target_width, target_height, left, top, draws)
