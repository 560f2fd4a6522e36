from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.records import RecordWriter, Store, evaluation_file, read_record
from bench.records import store as store_module
from bench.records.evaluations import Evaluations
from bench.records.summaries import Summaries

RUN = "00000000000000aa"


def write_attempt(folder: Path, *, run_id: str = RUN, epochs: int = 2, status: str | None = "ok", **begin: Any) -> Path:
    with RecordWriter(folder / "train.jsonl") as writer:
        fields = {"schema": 1, "spec": {"protocol": {"epochs": 2}, "seed": 0}, "source_digest": "s1", "planned": [0, 1]}
        writer.append("begin", run_id=run_id, **{**fields, **begin})
        for epoch in range(epochs):
            writer.append("epoch", epoch=epoch, test={"top1": 0.5 + epoch / 10})
        if status is not None:
            writer.append("end", status=status, reason="" if status == "ok" else "because", seconds=2.5)
    return folder


def test_attempt_names_sort_by_time_and_never_collide(tmp_path, monkeypatch):
    store = Store(tmp_path)
    folders = [store.new_attempt(RUN) for _ in range(20)]
    assert all(folder.is_dir() and folder.parent == tmp_path / RUN for folder in folders)
    assert all(re.fullmatch(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8}", folder.name) for folder in folders)
    times = [folder.name.split("-")[0] for folder in folders]
    assert times == sorted(times)
    assert len(set(folders)) == 20
    names = iter([folders[0].name, folders[1].name, "fresh"])
    monkeypatch.setattr(store_module, "_unique_name", lambda: next(names))
    assert store.new_attempt(RUN).name == "fresh"


def test_a_finished_run(tmp_path):
    store = Store(tmp_path)
    labels = {"data": "d", "backbone": "b", "protocol": "p", "method": "m"}
    folder = write_attempt(store.new_attempt(RUN), labels=labels, provenance={"torch_build": "2.6"})
    [record] = store.runs()
    assert (record.run_id, record.attempt, record.attempts) == (RUN, folder.name, (folder.name,))
    assert (record.status, record.reason, record.seconds) == ("ok", "", 2.5)
    assert (record.schema, record.source_digest, record.planned) == (1, "s1", (0, 1))
    assert record.spec["protocol"] == {"epochs": 2}
    assert record.labels == labels
    assert record.provenance == {"torch_build": "2.6"}
    assert record.folder == folder
    assert [line["test"]["top1"] for line in record.epochs] == [0.5, 0.6]
    assert record.predictions is None
    assert record.diagnostics == {}
    assert record.metrics("clean") == []
    (folder / "predictions.npz").write_bytes(b"x")
    assert record.predictions == folder / "predictions.npz"
    assert store.run(RUN) == record
    assert store.run("ff" * 8) is None


def test_an_attempt_that_never_began_is_none(tmp_path):
    store = Store(tmp_path)
    store.new_attempt(RUN)
    assert store.runs() == []
    assert store.run(RUN) is None
    begun = write_attempt(store.new_attempt(RUN), epochs=0, status=None)
    store.new_attempt(RUN)
    assert [record.folder for record in store.attempts(RUN)] == [begun]
    assert store.runs()[0].attempts == (begun.name,)


def test_an_empty_or_missing_store_has_no_runs(tmp_path):
    assert Store(tmp_path / "none").runs() == []
    assert Store(tmp_path / "none").sessions() == []


def test_without_an_end_a_run_is_incomplete_and_a_resumed_one_counts_from_its_last_begin(tmp_path):
    folder = write_attempt(Store(tmp_path).new_attempt(RUN), epochs=1, status=None)
    assert Store(tmp_path).runs()[0].status == "incomplete"
    with RecordWriter(folder / "train.jsonl") as writer:
        writer.append("end", status="interrupted", reason="Ctrl-C", seconds=1.0)
    assert (record := Store(tmp_path).runs()[0]).status == "interrupted"
    assert record.reason == "Ctrl-C"
    with RecordWriter(folder / "train.jsonl") as writer:
        writer.append("resume", run_id=RUN, schema=1, spec={"protocol": {"epochs": 2}}, source_digest="s2")
    assert (record := Store(tmp_path).runs()[0]).status == "incomplete"
    assert record.source_digest == "s2"
    with RecordWriter(folder / "train.jsonl") as writer:
        writer.append("epoch", epoch=0, test={"top1": 0.9})
        writer.append("epoch", epoch=1, test={"top1": 0.95})
        writer.append("end", status="ok", seconds=1.0)
    record = Store(tmp_path).runs()[0]
    assert record.status == "ok"
    assert [line["test"]["top1"] for line in record.epochs] == [0.9, 0.95]


@pytest.mark.parametrize(
    ("statuses", "deciding"),
    [(["ok", "ok"], 1), (["ok", "error"], 0), (["ok", None], 0), (["error", "oom"], 1), (["ok", "ok", "diverged"], 1)],
)
def test_the_newest_ok_attempt_decides_else_the_newest(tmp_path, statuses, deciding):
    store = Store(tmp_path)
    folders = [write_attempt(store.new_attempt(RUN), status=status, reason_key=i) for i, status in enumerate(statuses)]
    [record] = store.runs()
    assert record.attempt == folders[deciding].name
    assert record.attempts == tuple(folder.name for folder in folders)
    assert store.run(RUN) == record
    assert [attempt.attempt for attempt in store.attempts(RUN)] == [folder.name for folder in folders]


def test_copied_folders_change_nothing(tmp_path):
    store = Store(tmp_path)
    first = write_attempt(store.new_attempt(RUN), status="error")
    second = write_attempt(store.new_attempt(RUN))
    before = store.runs()
    shutil.copytree(tmp_path / RUN, tmp_path / f"{RUN} (copy)")
    shutil.copytree(second, second.with_name(second.name + " (copy)"))
    assert store.runs()[0].attempts == (first.name, second.name)
    assert store.runs()[0].status == before[0].status
    assert len(store.runs()) == 1


def test_merging_two_machines_by_copying_gives_the_union(tmp_path):
    other = "00000000000000bb"
    write_attempt(Store(tmp_path / "one").new_attempt(RUN), status="error")
    write_attempt(Store(tmp_path / "two").new_attempt(RUN))
    write_attempt(Store(tmp_path / "two").new_attempt(other), run_id=other)
    shutil.copytree(tmp_path / "two", tmp_path / "one", dirs_exist_ok=True)
    records = Store(tmp_path / "one").runs()
    assert [(record.run_id, record.status, len(record.attempts)) for record in records] == [
        (RUN, "ok", 2),
        (other, "ok", 1),
    ]


def test_damage_to_the_record_of_an_ok_run_is_not_trusted(tmp_path):
    folder = write_attempt(Store(tmp_path).new_attempt(RUN))
    path = folder / "train.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[2].replace(b"0.6", b"0.7"), *lines[3:]]))
    record = Store(tmp_path).runs()[0]
    assert (record.status, record.damaged) == (
        "incomplete",
        (3,),
    )
    assert record.reason == "damaged lines in train.jsonl: 3"
    healed = b"".join([*lines[:2], b"torn by a crash\n", *lines[2:]])
    path.write_bytes(healed)
    assert (record := Store(tmp_path).runs()[0]).status == "ok"
    assert record.damaged == (3,)
    assert not record.torn
    path.write_bytes(healed[:-5])
    assert (record := Store(tmp_path).runs()[0]).status == "incomplete"
    assert record.torn
    assert record.damaged == (3,)


def test_exceptions_of_the_protocol_count_when_epochs_are_checked(tmp_path):
    spec = {"protocol": {"epochs": 2, "exceptions": [{"method": "m", "set": {"epochs": 3}, "reason": "r"}]}}
    folder = write_attempt(Store(tmp_path).new_attempt(RUN), epochs=2, spec=spec)
    with (folder / "train.jsonl").open("ab") as file:
        file.write(b"noise\n")
    assert Store(tmp_path).runs()[0].status == "incomplete"


def test_every_truncation_of_a_run_gives_a_record(tmp_path):
    folder = write_attempt(Store(tmp_path).new_attempt(RUN))
    path = folder / "train.jsonl"
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        [record] = Store(tmp_path).runs()
        assert record.run_id == RUN
        assert record.status == ("ok" if length == len(content) - 1 else "incomplete"), length


def test_strange_fields_are_tolerated(tmp_path):
    folder = Store(tmp_path).new_attempt(RUN)
    with RecordWriter(folder / "train.jsonl") as writer:
        writer.append("begin", schema="one", spec=[1], labels=None, planned="all", provenance=3)
        writer.append("epoch", epoch="first")
        writer.append("end", status="melted")
    (Store(tmp_path).root / "loose file").write_text("x")
    (Store(tmp_path).root / "empty folder").mkdir()
    [record] = Store(tmp_path).runs()
    assert (record.schema, record.spec, record.labels, record.planned, record.epochs) == (0, {}, {}, (), [])
    assert record.status == "error"
    assert record.reason == "ended with the unknown status 'melted'"


def test_metrics_last_line_per_key_and_newest_version(tmp_path):
    folder = write_attempt(Store(tmp_path).new_attempt(RUN))
    with RecordWriter(evaluation_file(folder, "corruption-small", "9")) as writer:
        writer.append("metric", name="corruption_top1", value=0.1, detail={"corruption": "fog", "severity": 1})
    with RecordWriter(evaluation_file(folder, "corruption-small", "10")) as writer:
        for value, severity in ((0.2, 1), (0.3, 2), (0.4, 1)):
            writer.append(
                "metric", name="corruption_top1", value=value, detail={"severity": severity, "corruption": "fog"}
            )
        writer.append("metric", name="nll", value=float("nan"), detail={})
    record = Store(tmp_path).runs()[0]
    found = [
        (line["name"], line["detail"].get("severity"), line["value"]) for line in record.metrics("corruption-small")
    ]
    assert found == [("corruption_top1", 2, 0.3), ("corruption_top1", 1, 0.4), ("nll", None, None)]
    assert record.evaluation("corruption-small").begin == {}
    assert record.evaluation("none") == ({}, [])
    with RecordWriter(evaluation_file(folder, "corruption-small", "10")) as writer:
        writer.append("begin", digest="d", title="Small")
    again = Store(tmp_path).runs()[0]
    assert again.evaluation("corruption-small").begin == {"kind": "begin", "digest": "d", "title": "Small"}
    assert [path.name for path in record.evaluations["corruption-small"]] == [
        "eval-corruption-small-9.jsonl",
        "eval-corruption-small-10.jsonl",
    ]


def test_diagnostics_last_value_wins(tmp_path):
    folder = write_attempt(Store(tmp_path).new_attempt(RUN))
    with RecordWriter(folder / "train.jsonl") as writer:
        for value in (0.1, 0.2):
            writer.append("diagnostic", name="alignment_effect_to_first", value=value)
    assert Store(tmp_path).runs()[0].diagnostics == {"alignment_effect_to_first": 0.2}


def test_speed_sessions(tmp_path):
    store = Store(tmp_path)
    path = store.new_session()
    with RecordWriter(path) as writer:
        writer.append("begin", schema=1, hardware="box", precision="fp32", torch="2.6")
        writer.append("arm", arm="a1", label="erm", passes_per_step=1.0, peak_memory=None, images_per_step=25)
        writer.append("sample", arm="a1", label="erm", round=0, seconds=0.02)
        writer.append("sample", arm="a1", label="erm", round=1, seconds=0.03)
    [session] = store.sessions()
    assert session.name == path.stem
    assert session.status == "incomplete"
    assert session.begin["hardware"] == "box"
    assert [sample["seconds"] for sample in session.samples] == [0.02, 0.03]
    assert session.arms["a1"]["label"] == "erm"
    with RecordWriter(path) as writer:
        writer.append("end", status="ok", reason="")
    assert store.sessions()[0].status == "ok"
    assert store.runs() == []


def test_the_records_package_imports_neither_torch_nor_numpy():
    program = "import sys, bench.records; print(sorted({'torch', 'numpy', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == []


def test_a_line_read_by_the_store_equals_the_one_read_directly(tmp_path):
    folder = write_attempt(Store(tmp_path).new_attempt(RUN))
    lines = [line for line in read_record(folder / "train.jsonl").lines if line["kind"] == "epoch"]
    assert Store(tmp_path).runs()[0].epochs == lines


def test_only_evaluators_records_are_taken_for_such(tmp_path):
    for name in ("train.jsonl", "eval-clean-1.jsonl", "eval-clean-1.2.jsonl", "eval-clean-1.jsonl.part", "log-1.jsonl"):
        (tmp_path / name).write_bytes(b"")
    found = Evaluations(str(tmp_path), Summaries())
    assert sorted(found.files) == ["eval-clean-1.2.jsonl", "eval-clean-1.jsonl"]
    assert found.names == {"clean": ["eval-clean-1.jsonl", "eval-clean-1.2.jsonl"]}
    assert Evaluations(str(tmp_path / "nowhere"), Summaries()).files == []
