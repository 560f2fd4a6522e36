"""A listener and TensorBoard in a real sweep, against its records."""

from __future__ import annotations

import json

from bench.records import Store

LISTENER = """
import json

def follow(event):
    with open("told.jsonl", "a") as file:
        file.write(json.dumps(event) + "\\n")

def fail(event):
    raise OSError("no network")
"""


def test_a_sweep_tells_what_it_records(mixbench):
    (mixbench.folder / "my_tracker.py").write_text(LISTENER)
    options = ["run", "tiny", "--set", "seeds=1", "--no-figures", "--workers", "1", "--tensorboard", "board"]
    done = mixbench(*options, "--on-event", "my_tracker:fail", "--on-event", "my_tracker:follow")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("my_tracker:fail failed at 'run_started' and is told nothing more") == 1
    told = [json.loads(line) for line in (mixbench.folder / "told.jsonl").read_text().splitlines()]
    records = Store(mixbench.records).runs()
    assert len(records) == 2
    assert [event["event"] for event in told if event["event"] in ("run_started", "run_ended", "sweep_ended")] == [
        "run_started", "run_ended", "run_started", "run_ended", "sweep_ended",
    ]  # fmt: skip
    for record in records:
        own = [event for event in told if event.get("run_id") == record.run_id]
        epochs = [event for event in own if event["event"] == "epoch"]
        assert [event["train_loss"] for event in epochs] == [line["train_loss"] for line in record.epochs]
        metrics = {event["name"]: event["value"] for event in own if event["event"] == "metric"}
        assert metrics == {line["name"]: line["value"] for line in record.metrics("clean")}
        assert own[-1]["status"] == "ok"
    assert len(list((mixbench.folder / "board").glob("digits/test_resnet/tiny/*-seed0-*/events.out.tfevents.*"))) == 2
    again = mixbench(*options, "--on-event", "my_tracker")
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
