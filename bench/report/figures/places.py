"""Where to write labels beside points so that none covers another or a point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Box(NamedTuple):
    """A rectangle in pixels."""

    left: float
    bottom: float
    right: float
    top: float

    def grown(self, by: float) -> Box:
        """The rectangle with a margin."""
        return Box(self.left - by, self.bottom - by, self.right + by, self.top + by)


Point = tuple[float, float]

GAP = 4.0
"""Pixels between two labels, or a label and a point."""
_COLUMNS, _ROWS = 9, 40
"""The grid of last resort."""


def place_labels(
    points: Sequence[Point], sizes: Sequence[Point], area: Box, marker: float, lines: Sequence[Box] = ()
) -> list[Box]:
    """A rectangle for each label, inside `area`, near its point.

    points: centres in pixels. sizes: width and height of each label. marker: radius of a point. lines: thin rectangles
    (interval bars) that labels should rather not cross. No label covers a point or another label as long as the area
    has room; without room the least covering place is taken.
    """
    dots = [Box(x - marker, y - marker, x + marker, y + marker) for x, y in points]
    placed: dict[int, Box] = {}
    for index in sorted(range(len(points)), key=lambda index: _crowding(points, index), reverse=True):
        taken = [box.grown(GAP) for box in [*dots, *placed.values()]]
        placed[index] = _cheapest(_places(points[index], sizes[index], area, marker), points[index], taken, lines)
    return [placed[index] for index in range(len(points))]


def shared_areas(some: Sequence[Box], others: Sequence[Box]) -> NDArray[np.float64]:
    """(S, O): the area that each box of `some` shares with each of `others`."""
    mine, theirs = np.array(some).reshape(-1, 1, 4), np.array(others).reshape(1, -1, 4)
    width = np.minimum(mine[..., 2], theirs[..., 2]) - np.maximum(mine[..., 0], theirs[..., 0])
    height = np.minimum(mine[..., 3], theirs[..., 3]) - np.maximum(mine[..., 1], theirs[..., 1])
    return np.clip(width, 0, None) * np.clip(height, 0, None)


def _crowding(points: Sequence[Point], index: int) -> float:
    x, y = points[index]
    return sum(1 / (1 + math.hypot(x - other_x, y - other_y)) for other_x, other_y in points)


def _places(point: Point, size: Point, area: Box, marker: float) -> list[Box]:
    """Places around the point, then ever farther away, then all over the area; none leaves the area."""
    x, y = point
    width, height = size
    centres: list[Point] = []
    for ring in range(14):
        far_x, far_y = width / 2 + marker + GAP + 1, height / 2 + marker + GAP + 1
        far_x, far_y = far_x + ring * 0.8 * height, far_y + ring * 0.8 * height
        centres += [(x + far_x, y), (x, y + far_y), (x, y - far_y), (x - far_x, y)]
        centres += [(x + right * far_x, y + up * far_y) for right in (1, -1, 0.5, -0.5) for up in (1, -1)]
    for column in range(_COLUMNS):
        for row in range(_ROWS):
            across, along = (column + 0.5) / _COLUMNS, (row + 0.5) / _ROWS
            centres.append(
                (area.left + across * (area.right - area.left), area.bottom + along * (area.top - area.bottom))
            )
    boxes = [Box(cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2) for cx, cy in centres]
    inside = [
        box
        for box in boxes
        if box.left >= area.left and box.right <= area.right and box.bottom >= area.bottom and box.top <= area.top
    ]
    return inside or boxes


def _cheapest(places: Sequence[Box], point: Point, taken: Sequence[Box], lines: Sequence[Box]) -> Box:
    """The place that covers least; among those the one whose edge is nearest, crossing a line counting as 25 pixels."""
    covered = shared_areas(places, taken).sum(axis=1)
    crossed = (shared_areas(places, lines) > 0).sum(axis=1)
    distance = [
        math.hypot(
            max(place.left - point[0], 0, point[0] - place.right), max(place.bottom - point[1], 0, point[1] - place.top)
        )
        for place in places
    ]
    order = np.lexsort((np.array(distance) + 25 * crossed, covered))
    return places[int(order[0])]
