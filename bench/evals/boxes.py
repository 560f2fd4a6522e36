"""Object boxes of a split's images from a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from bench.errors import BadInput

COLUMNS = ("image", "left", "top", "right", "bottom")


def read_boxes(path: Path, size: int) -> dict[int, np.ndarray]:
    """Boxes of each image that has some: position in the split to (M, 4) float64 left, top, right, bottom.

    The file has the header "image,left,top,right,bottom" and a row a box; coordinates are shares of the evaluated
    image's width and height in [0, 1], left < right and top < bottom. size: images in the split. BadInput names the
    file and the line of what is wrong.
    """
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path}: cannot be read as boxes ({str(error).splitlines()[0]})") from None
    if not rows or tuple(cell.strip() for cell in rows[0]) != COLUMNS:
        raise BadInput(f"{path}:1: the first line must be '{','.join(COLUMNS)}'")
    found: dict[int, list[list[float]]] = {}
    for line, cells in enumerate(rows[1:], start=2):
        if cells:
            image, box = _row(cells, size, f"{path}:{line}")
            found.setdefault(image, []).append(box)
    if not found:
        raise BadInput(f"{path}: holds no boxes")
    return {image: np.array(boxes) for image, boxes in found.items()}


def _row(cells: list[str], size: int, where: str) -> tuple[int, list[float]]:
    if len(cells) != len(COLUMNS):
        raise BadInput(f"{where}: has {len(cells)} values, not {len(COLUMNS)} ({','.join(COLUMNS)})")
    try:
        image = int(cells[0])
    except ValueError:
        raise BadInput(f"{where}: image '{cells[0]}' is not a whole number") from None
    if not 0 <= image < size:
        raise BadInput(f"{where}: image {image} is not in the split, which has the images 0 to {size - 1}")
    box = []
    for name, cell in zip(COLUMNS[1:], cells[1:], strict=True):
        try:
            box.append(float(cell))
        except ValueError:
            raise BadInput(f"{where}: {name} '{cell}' is not a number") from None
        if not 0 <= box[-1] <= 1:
            raise BadInput(f"{where}: {name} {cell.strip()} is not a share of the image in [0, 1]")
    left, top, right, bottom = box
    if not (left < right and top < bottom):
        raise BadInput(f"{where}: left must be below right and top below bottom")
    return image, box
