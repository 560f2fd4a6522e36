"""What the evaluators say they will record is what the tables read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.data.resident import ResidentEval
from bench.evals.api import Context
from bench.evals.registry import read_arm
from bench.records import Store
from bench.report import build_tables
from tests.golden.tables.example_records import make_spec, write_run
from tests.golden.tables.robust_records import write_arm

ARMS = sorted((Path(__file__).parents[2] / "configs" / "eval").glob("*.yaml"))
NOT_SHOWN = {
    "corruption_top1_mean", "corruption_error_unnormalised", "clean_top1", "fgsm_clean_top1", "fgsm_zero_gradient",
    "top1",
}  # fmt: skip
"""Means that the tables form themselves, clean accuracy once more, and what only the record keeps."""


def planned_lines(arm, side, classes):
    images = torch.zeros(classes if side < 200 else 1, 3, side, side, dtype=torch.uint8)
    feed = ResidentEval(images, torch.arange(len(images)), side)
    context = Context(nn.Identity(), lambda x: x, {"test": feed}, classes, torch.device("cpu"), seed=0)
    lines = []
    for key in arm.build().plan(context):
        name, _, detail = key.partition(" ")
        lines.append((name, json.loads(detail)))
    return lines


@pytest.mark.parametrize("path", [path for path in ARMS if path.stem != "clean"], ids=lambda path: path.stem)
def test_every_planned_number_moves_a_table(path, tmp_path):
    """Each number is recorded as 1 where all others are 0.25; the tables must not stay what they are."""
    arm = read_arm(path)
    wide = path.stem.startswith("imagenet")
    lines = planned_lines(arm, 224 if wide else 32, 1000 if wide else 10)
    assert lines
    folder = write_run(tmp_path, make_spec("erm", 0), 0.8)

    def shown(changed: int | None) -> str:
        values = [(name, 1.0 if place == changed else 0.25, detail) for place, (name, detail) in enumerate(lines)]
        write_arm(folder, path.stem, values)
        tables = build_tables(Store(tmp_path).runs())
        return "".join(table.csv() for table in tables.all)

    before = shown(None)
    seen: set[tuple[str, tuple[str, ...]]] = set()
    for place, (name, detail) in enumerate(lines):
        kind = (name, tuple(str(detail.get(key)) for key in ("attack", "norm", "check", "scaled", "kind", "direction")))
        if name not in NOT_SHOWN and kind not in seen:
            seen.add(kind)
            assert shown(place) != before, (name, detail)
    assert seen
