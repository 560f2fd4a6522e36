"""Events against the record lines that were written, and TensorBoard files against what its own reader finds."""

from __future__ import annotations

import sys

import pytest

from bench.config.overrides import parse_set_options
from bench.config.suite import load_suite
from bench.errors import BadInput
from bench.records import RecordWriter
from bench.sweep.executors.api import Event
from bench.sweep.listeners import Listeners, RecordTail, find_listener
from bench.sweep.listeners_tensorboard import TensorBoard, run_name
from bench.sweep.todo import with_digests


@pytest.fixture
def task(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path / "cache"))
    suite = load_suite("quickstart", parse_set_options(["seeds=[3]", "methods=[erm]", "protocol.epochs=3",
                                                        "protocol.warmup_epochs=0"]))  # fmt: skip
    spec = with_digests(suite)[0][0]
    folder = tmp_path / "attempt"
    folder.mkdir()
    return {
        "task": "run",
        "name": spec.run_id,
        "spec": spec.model_dump(mode="json"),
        "folder": str(folder),
        "train": True,
    }


def epoch(record, number: int, **more):
    record.append("epoch", epoch=number, train_loss=1.0 / number, learning_rate=0.1, seconds=2.0, **more)


def play(task, folder, listeners):
    """A run of two epochs and an evaluator with two metrics, told as an executor tells it."""
    progress = Event("progress", task, {"units": 1})
    listeners.heard(Event("start", task, {}))
    with RecordWriter(folder / "train.jsonl") as record:
        record.append("begin", spec={})
        epoch(record, 1, parts={"mixed": 0.25}, test={"top1": 0.5, "nll": 1.5, "n": 9}, validation=None)
        listeners.heard(progress)
        epoch(record, 2, parts={}, test=None, validation={"top1": float("nan"), "nll": 2.0, "n": 9})
        record.append("diagnostic", name="x", value=1.0)
        listeners.heard(progress)
        record.append("end", status="ok")
    with RecordWriter(folder / "eval-adversarial-small-1.2.jsonl") as record:
        record.append("begin", eval="adversarial-small")
        record.append("metric", name="attack_top1", value=0.75, detail={"norm": "l2", "eps": 0.5})
        listeners.heard(progress)
        record.append("metric", name="masking_check", value=None, detail={})
    listeners.heard(Event("done", task, {"status": "ok", "reason": None, "seconds": 9.0}))
    listeners.close()


def test_every_line_is_told_once_and_in_order(task, tmp_path):
    told = []
    play(task, tmp_path / "attempt", Listeners([told.append]))
    assert [event["event"] for event in told] == [
        "run_started", "epoch", "epoch", "metric", "metric", "run_ended", "sweep_ended",
    ]  # fmt: skip
    for event in told[:-1]:
        assert (event["run_id"], event["seed"], event["labels"]["method"]) == (task["name"], 3, "erm")
    assert told[0]["spec"]["protocol"]["epochs"] == 3
    assert [(event["epoch"], event["train_loss"]) for event in told[1:3]] == [(1, 1.0), (2, 0.5)]
    assert told[1]["test"] == {"top1": 0.5, "nll": 1.5, "n": 9}
    assert [(event["evaluator"], event["name"], event["value"]) for event in told[3:5]] == [
        ("adversarial-small", "attack_top1", 0.75), ("adversarial-small", "masking_check", None),
    ]  # fmt: skip
    assert (told[5]["status"], told[5]["seconds"]) == ("ok", 9.0)


def test_a_listener_that_raises_is_dropped_and_the_others_go_on(task, tmp_path, capsys):
    told, broken = [], []

    def breaks(event):
        broken.append(event["event"])
        event.clear()
        if len(broken) == 2:
            raise RuntimeError("no connection")

    play(task, tmp_path / "attempt", Listeners([breaks, told.append]))
    assert broken == ["run_started", "epoch"]
    assert len(told) == 7
    error = capsys.readouterr().err
    assert error.count("and is told nothing more") == error.count("RuntimeError: no connection") == 1
    assert "breaks failed at 'epoch'" in error


def test_what_an_earlier_process_wrote_is_not_told_again(task, tmp_path):
    folder = tmp_path / "attempt"
    with RecordWriter(folder / "train.jsonl") as record:
        epoch(record, 1)
        tail = RecordTail(folder)
        assert list(tail.news()) == []
        epoch(record, 2)
        assert [line["epoch"] for line in tail.news()] == [2]
        assert list(tail.news()) == []


def test_unfinished_and_damaged_lines(tmp_path):
    path = tmp_path / "train.jsonl"
    with RecordWriter(path) as record:
        for number in (1, 2, 3):
            epoch(record, number)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"0.5", b"0.6")
    path.write_bytes(b"")
    tail = RecordTail(tmp_path)
    seen = []
    for cut in (5, len(lines[0]) - 1, len(lines[0]), len(lines[0]) + 1, sum(map(len, lines))):
        path.write_bytes(b"".join(lines)[:cut])
        seen.append([line["epoch"] for line in tail.news()])
    assert seen == [[], [], [1], [], [3]]


def test_timing_sessions_are_no_runs(tmp_path):
    told = []
    Listeners([told.append]).heard(Event("start", {"task": "speed", "name": "x", "folder": str(tmp_path)}, {}))
    assert told == []


def test_finding_a_function(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_listener.py").write_text("told = []\ndef follow(event):\n    told.append(event)\nnumber = 3\n")
    (tmp_path / "my_broken_listener.py").write_text("1 / 0\n")
    assert find_listener("my_listener:follow").__name__ == "follow"
    for given, message in {
        "follow": "is not MODULE:FUNCTION",
        ":follow": "is not MODULE:FUNCTION",
        "my_listener:folow": "has no function 'folow'; did you mean 'follow'",
        "my_listener:number": "has no function 'number'",
        "no_such_listener:f": "no_such_listener cannot be imported",
        "my_broken_listener:f": "ZeroDivisionError",
    }.items():
        with pytest.raises(BadInput, match=message):
            find_listener(given)


def test_tensorboard_reads_what_was_told(task, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = TensorBoard(tmp_path / "board")
    play(task, tmp_path / "attempt", Listeners([board]))
    event = {"labels": task["spec"]["labels"], "seed": 3, "run_id": task["name"]}
    assert run_name(event) == f"digits/test_resnet/digits-100ep/erm-seed3-{task['name'][:6]}"
    reader = EventAccumulator(str(tmp_path / "board" / run_name(event)))
    reader.Reload()
    found = {tag: [(each.step, pytest.approx(reader_value(each))) for each in reader.Tensors(tag)]
             for tag in reader.Tags()["tensors"]}  # fmt: skip
    assert found == {
        "train/loss": [(1, 1.0), (2, 0.5)],
        "train/learning_rate": [(1, 0.1), (2, 0.1)],
        "train/seconds": [(1, 2.0), (2, 2.0)],
        "train/mixed": [(1, 0.25)],
        "test/top1": [(1, 0.5)],
        "test/nll": [(1, 1.5)],
        "validation/nll": [(2, 2.0)],
        "eval/adversarial-small/attack_top1/eps-0.5/norm-l2": [(3, 0.75)],
    }


def reader_value(event) -> float:
    from tensorboard.util.tensor_util import make_ndarray

    return float(make_ndarray(event.tensor_proto))


def test_a_missing_extra_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.summary", None)
    with pytest.raises(BadInput, match=r"pip install 'mixbench\[tensorboard\]'"):
        TensorBoard(tmp_path)
