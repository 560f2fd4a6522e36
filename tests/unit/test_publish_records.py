"""Records for publication lose folder names and nothing else."""

from __future__ import annotations

import json

import pytest

from bench.config.overrides import parse_set_options
from bench.config.suite import load_suite
from bench.errors import BadInput
from bench.records import RecordWriter, read_record
from bench.report.about import About, about_file, read_about
from tools.publish_records import publish, write_about


def test_only_paths_change(tmp_path):
    source, target = tmp_path / "records", tmp_path / "published"
    attempt = source / "0123456789abcdef" / "20260101T000000.000000Z-00000000"
    attempt.mkdir(parents=True)
    with RecordWriter(attempt / "train.jsonl") as record:
        record.append("begin", spec={"data": {"root": "/home/someone/photos", "source": "folder"}}, labels=["a"])
        record.append("end", status="ok", seconds=1.5)
    with RecordWriter(attempt / "eval-clean-1.jsonl") as record:
        record.append("metric", name="top1", value=0.1 + 0.2, detail={"source": "files"})
    for name in ("weights.safetensors", "log.txt", "checkpoint.pt"):
        (attempt / name).write_bytes(b"x")
    (attempt / "predictions.npz").write_bytes(b"kept as it is")
    assert publish(source, target) == 3
    (copied,) = (target / "0123456789abcdef").iterdir()
    assert {path.name for path in copied.iterdir()} == {"train.jsonl", "eval-clean-1.jsonl", "predictions.npz"}
    assert "someone" not in (copied / "train.jsonl").read_text()
    begin, end = read_record(copied / "train.jsonl").lines
    assert begin["spec"]["data"] == {"root": "photos", "source": "folder"}
    assert end == read_record(attempt / "train.jsonl").lines[1]
    assert (copied / "eval-clean-1.jsonl").read_bytes() == (attempt / "eval-clean-1.jsonl").read_bytes()


def test_damage_is_not_published(tmp_path):
    attempt = tmp_path / "records" / "0123456789abcdef" / "20260101T000000.000000Z-00000000"
    attempt.mkdir(parents=True)
    (attempt / "train.jsonl").write_text(json.dumps({"kind": "end", "status": "ok"}) + "\n")
    with pytest.raises(SystemExit, match="damaged lines"):
        publish(tmp_path / "records", tmp_path / "published")


def test_title_and_note_of_the_suite_are_written_once(tmp_path):
    target = tmp_path / "study" / "records"
    assert write_about(target, "quickstart") == tmp_path / "study" / "about.yaml"
    file = load_suite("quickstart", parse_set_options([])).file
    assert read_about(target) == About(file.title, file.note)
    about_file(target).write_text("title: Mine\n")
    assert write_about(target, "quickstart") is None
    assert read_about(target) == About("Mine")
    with pytest.raises(BadInput, match="did you mean 'quickstart'"):
        write_about(target, "quikstart")


def test_a_title_that_yaml_would_take_for_something_else_is_read_back(tmp_path):
    suite = tmp_path / "configs" / "suite" / "odd.yaml"
    suite.parent.mkdir(parents=True)
    plan = "data: digits\nbackbone: test_resnet\nprotocol: digits-100ep\nmethods: erm\nseeds: 1\n"
    note = "# no comment: \U0001f600 \\ ' ok"
    suite.write_text(f"title: '1e-3'\nnote: {json.dumps(note, ensure_ascii=False)}\n{plan}", encoding="utf-8")
    write_about(tmp_path / "study" / "records", str(suite))
    assert read_about(tmp_path / "study" / "records") == About("1e-3", note)
