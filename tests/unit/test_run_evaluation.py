"""What an evaluation writes: nothing when it is refused, no number twice, and what an earlier record could not measure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from bench.errors import BadInput
from bench.evals.api import Context, Metric, metric_key
from bench.evals.registry import EvalArm, read_arm
from bench.records import RecordWriter, read_record
from bench.run.evaluation import evaluate_arm

KEYS = [metric_key("value", {"place": place}) for place in range(3)]


class Evaluator:
    """Measures 0, 1 and 2; keeps what it was asked for. partner: without it the last cannot be measured."""

    def __init__(self, partner: bool = True, refuse: bool = False) -> None:
        self.partner, self.refuse = partner, refuse
        self.measured: list[int] = []

    def plan(self, context: Context) -> list[str]:
        return KEYS

    def evaluate(self, context: Context, done: dict[str, float | None]) -> Iterator[Metric]:
        if self.refuse:
            raise BadInput("these images do not go with it")
        for place in range(3):
            if KEYS[place] not in done:
                self.measured.append(place)
                yield Metric("value", None if place == 2 and not self.partner else float(place), {"place": place})


@pytest.fixture
def run(monkeypatch, tmp_path):
    arm = EvalArm("arm", "Arm", "clean", "1", {"split": "test", "batch_size": 1})
    context: Any = type("Context", (), {"device": torch.device("cpu")})()

    def call(evaluator: Evaluator, name: str, carried: str | None = None) -> list[tuple[str, float | None]]:
        monkeypatch.setattr(EvalArm, "build", lambda self: evaluator)
        file = tmp_path / name
        evaluate_arm(
            arm, context, file, "source", {}, tmp_path / carried if carried else None, lambda share: None, lambda: False
        )
        return [(line["kind"], line.get("value")) for line in read_record(file).lines]

    call.folder = tmp_path
    return call


def test_a_refused_evaluation_writes_nothing(run):
    with pytest.raises(BadInput, match="do not go"):
        run(Evaluator(refuse=True), "eval-arm-1.jsonl")
    assert list(run.folder.iterdir()) == []


def test_only_what_could_not_be_measured_is_measured_with_a_partner(run):
    assert run(Evaluator(partner=False), "1")[1:4] == [("metric", 0.0), ("metric", 1.0), ("metric", None)]
    later = Evaluator()
    assert run(later, "2", carried="1")[1:] == [("metric", 0.0), ("metric", 1.0), ("metric", 2.0), ("end", None)]
    assert later.measured == [2]


def test_own_numbers_come_before_carried_ones(run):
    run(Evaluator(partner=False), "1")
    with RecordWriter(run.folder / "2") as record:
        record.append("begin", digest="d")
        record.append("metric", name="value", value=7.0, detail={"place": 0})
    later = Evaluator()
    run(later, "2", carried="1")
    assert later.measured == [1, 2]


def test_a_box_file_counts_by_its_content(tmp_path):
    boxes = tmp_path / "boxes.csv"
    arm = tmp_path / "mine.yaml"
    arm.write_text(f"evaluator: localisation\nboxes: {boxes}\n")
    missing = read_arm(arm).digest
    boxes.write_text("image,left,top,right,bottom\n0,0,0,1,1\n")
    first = read_arm(arm).digest
    moved = tmp_path / "moved.csv"
    moved.write_text(boxes.read_text())
    arm.write_text(f"evaluator: localisation\nboxes: {moved}\n")
    assert read_arm(arm).digest == first
    moved.write_text("image,left,top,right,bottom\n0,0,0,0.5,1\n")
    assert len({missing, first, read_arm(arm).digest}) == 3
