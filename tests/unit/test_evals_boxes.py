from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bench.data.resident import ResidentEval
from bench.errors import BadInput
from bench.evals.api import Context
from bench.evals.boxes import read_boxes
from bench.evals.localisation import Localisation
from bench.evals.registry import EvalArm

HEADER = "image,left,top,right,bottom\n"


def test_boxes_by_image(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(HEADER + "4,0,0.25,1,0.5\n1, 0.1, 0.2, 0.3, 0.4\n\n4,0.5,0.5,0.75,1\n")
    found = read_boxes(path, 5)
    assert list(found) == [4, 1]
    np.testing.assert_array_equal(found[4], [[0, 0.25, 1, 0.5], [0.5, 0.5, 0.75, 1]])
    np.testing.assert_array_equal(found[1], [[0.1, 0.2, 0.3, 0.4]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "boxes.csv:1: the first line must be 'image,left,top,right,bottom'"),
        ("image,x,y,w,h\n0,0,0,1,1\n", "boxes.csv:1: the first line must be"),
        (HEADER, "boxes.csv: holds no boxes"),
        (HEADER + "0,0,0,1,1\n0,0,0,1\n", "boxes.csv:3: has 4 values, not 5"),
        (HEADER + "a.png,0,0,1,1\n", "boxes.csv:2: image 'a.png' is not a whole number"),
        (HEADER + "5,0,0,1,1\n", "boxes.csv:2: image 5 is not in the split, which has the images 0 to 4"),
        (HEADER + "-1,0,0,1,1\n", "boxes.csv:2: image -1 is not in the split"),
        (HEADER + "0,0,zero,1,1\n", "boxes.csv:2: top 'zero' is not a number"),
        (HEADER + "0,0,0,32,16\n", "boxes.csv:2: right 32 is not a share of the image in [0, 1]"),
        (HEADER + "0,0,0,nan,1\n", "boxes.csv:2: right nan is not a share"),
        (HEADER + "0,0.5,0,0.5,1\n", "boxes.csv:2: left must be below right and top below bottom"),
    ],
)
def test_bad_files_end_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(text)
    with pytest.raises(BadInput) as caught:
        read_boxes(path, 5)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_one_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none.csv: cannot be read as boxes"):
        read_boxes(tmp_path / "none.csv", 5)
    (tmp_path / "image.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(BadInput, match=r"image.csv: cannot be read as boxes"):
        read_boxes(tmp_path / "image.csv", 5)


def test_no_file_is_bad_input_and_the_path_is_not_in_the_digest() -> None:
    feed = ResidentEval(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), 4)
    context = Context(nn.Identity(), lambda images: images.float(), {"test": feed}, 2, torch.device("cpu"), seed=0)
    with pytest.raises(BadInput, match="localisation: needs boxes: FILE"):
        list(Localisation().evaluate(context, {}))
    arms = [EvalArm("localisation", "", "localisation", "1", {"boxes": boxes}) for boxes in ("a.csv", "b.csv", None)]
    assert arms[0].digest == arms[1].digest != arms[2].digest
