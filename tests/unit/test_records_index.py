"""The index of summaries is a cache that nobody has to trust: what changed, is damaged or is missing is read again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from bench.records import RecordWriter, Store
from bench.records import index as index_module
from bench.records import store as store_module
from bench.records.line import sealed
from bench.records.summaries import Summaries
from bench.report import build_tables
from bench.report.write import table_files
from tests.golden.tables.awkward_study import awkward_plan, write_awkward_study

OLD = 10**9
"""A time in the past, in s since 1970."""


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    write_awkward_study(tmp_path / "records")
    (tmp_path / "records" / ("0" * 16) / "copy of nothing").mkdir(parents=True)
    monkeypatch.setattr(store_module, "MANY", 3)
    monkeypatch.setattr(store_module, "Summaries", lambda: Summaries(settled_seconds=-1))
    monkeypatch.setattr("bench.records.gather.Summaries", lambda: Summaries(settled_seconds=-1))
    return tmp_path / "records"


def indexed(root: Path) -> Store:
    return Store(root, root.parent / "index" / "summaries.jsonl")


def tables(store: Store) -> dict[str, bytes]:
    return table_files(build_tables(store.runs(), store.sessions(), awkward_plan()))


def filled(root: Path, monkeypatch) -> bytes:
    """An index of all runs, filled without other processes."""
    monkeypatch.setattr(store_module, "gather", lambda *_: None)
    store = indexed(root)
    tables(store)
    store.keep_index()
    return (root.parent / "index" / "summaries.jsonl").read_bytes()


def test_tables_from_the_index_are_those_from_the_records_and_nothing_is_read(root, monkeypatch):
    expected = tables(Store(root))
    filled(root, monkeypatch)
    store = indexed(root)
    assert tables(store) == expected
    assert store.summaries.read == 0


def test_runs_gathered_by_other_processes_are_those_read_here(root, monkeypatch):
    expected, runs = tables(Store(root)), Store(root).runs()
    asked: list[list[str]] = []
    gather = store_module.gather

    def watched(summaries, folder, names):
        asked.append(list(names))
        gather(summaries, folder, names)

    monkeypatch.setattr(store_module, "gather", watched)
    monkeypatch.setattr("bench.records.gather._cores", lambda: 2)
    for path in root.rglob("*"):
        os.utime(path, (OLD, OLD))  # the other processes go by the clock
    store = indexed(root)
    assert store.runs() == runs
    assert tables(store) == expected
    assert len(asked) == 1
    assert set(asked[0]) >= {record.folder.parent.name for record in runs}


def test_a_changed_file_is_read_again_and_no_other(root, monkeypatch):
    filled(root, monkeypatch)
    run = next(one for one in Store(root).runs() if one.status == "ok")
    with RecordWriter(run.folder / "train.jsonl") as record:
        record.append("end", status="error", reason="changed", seconds=1.0)
    store = indexed(root)
    assert [one.reason for one in store.runs() if one.run_id == run.run_id] == ["changed"]
    assert store.summaries.read == 1


def test_other_bytes_of_the_same_size_and_time_of_change_are_noticed(root, monkeypatch):
    filled(root, monkeypatch)
    run = next(one for one in Store(root).runs() if one.status == "ok")
    path = run.folder / "train.jsonl"
    facts, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    store = indexed(root)
    [found] = [one for one in store.runs() if one.run_id == run.run_id]
    assert found.damaged
    assert store.summaries.read == 1


@pytest.mark.parametrize("name", ["train.jsonl", "predictions.npz", "eval-clean-1.jsonl"])
def test_a_file_that_is_gone_is_missing_though_the_index_knows_it(root, monkeypatch, name):
    run = next(one for one in Store(root).runs() if one.status == "ok" and "clean" in one.evaluated.names)
    (run.folder / "predictions.npz").write_bytes(b"predictions")
    before = filled(root, monkeypatch)
    (run.folder / name).unlink()
    expected = tables(Store(root))
    store = indexed(root)
    assert tables(store) == expected
    assert store.summaries.read == 0
    found = store.run(run.run_id)
    assert {
        "train.jsonl": found is None,
        "predictions.npz": found is not None and found.file_problem(name) == "is missing",
        "eval-clean-1.jsonl": found is not None and found.evaluation("clean") == ({}, []),
    }[name]
    assert f"{run.run_id}/{run.attempt}/{name}".encode() in before


@pytest.mark.parametrize("change", ["torn", "altered", "newer version"])
def test_an_evaluation_that_changed_is_read_again(root, monkeypatch, change):
    filled(root, monkeypatch)
    run = next(one for one in Store(root).runs() if one.status == "ok" and "clean" in one.evaluated.names)
    path = run.folder / "eval-clean-1.jsonl"
    content = path.read_bytes()
    if change == "torn":
        path.write_bytes(content[:-9])
    elif change == "altered":
        path.write_bytes(content.replace(b'"name":"nll"', b'"name":"nil"'))
    else:
        shutil.copy(path, path.with_name("eval-clean-1.2.jsonl"))
    store = indexed(root)
    assert tables(store) == tables(Store(root))
    found = store.run(run.run_id)
    assert found is not None
    summary = found.evaluation_summary("clean")
    assert summary is not None
    assert (summary.lost, found.evaluated.deciding("clean")[0]) == (
        change != "newer version", "eval-clean-1.2.jsonl" if change == "newer version" else "eval-clean-1.jsonl",
    )  # fmt: skip
    assert store.summaries.read == 1


@pytest.mark.parametrize(
    "begin",
    [
        {},
        {"spec": [1], "run_id": 7, "labels": None},
        {"spec": {"seed": None, "data": {"a": [1]}}, "planned": [0, True, "x"], "provenance": {"torch_build": "2"}},
        {"spec": {"data": {}, "method": "erm"}, "labels": {"method": 3}, "schema": "1"},
    ],
)
def test_every_begin_line_comes_back_from_the_index_as_it_was_read(tmp_path, begin):
    for name in ("a", "b"):
        with RecordWriter(tmp_path / name / "0" / "train.jsonl") as record:
            record.append("begin", time=1.0, **begin)
        with RecordWriter(tmp_path / name / "0" / "eval-e-1.jsonl") as record:
            record.append("begin", others={"erm": "b"}, digest=name, settings={"side": 1}, time=2.0)
            record.append("metric", name="top1", value=0.5, detail={"side": 1})
    read, known = Summaries(settled_seconds=-1), Summaries()
    for path in sorted(tmp_path.rglob("*.jsonl")):
        (read.training if path.name == "train.jsonl" else read.evaluation)(str(path))
    assert index_module.take_in(known, index_module.index_lines(read, str(tmp_path)), str(tmp_path)) == {"a", "b"}
    assert known.training_files.entries == read.training_files.entries
    assert known.evaluation_files.entries == read.evaluation_files.entries
    one, two = (summary for _, summary in known.training_files.entries.values())
    assert one.begin is two.begin
    assert one.run_id == begin.get("run_id")
    assert one.spec == (begin.get("spec") if isinstance(begin.get("spec"), dict) else {})
    assert one.begin == {"kind": "begin", **{name: begin[name] for name in begin if name not in ("spec", "run_id")}}


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text", "missing", "version"])
def test_a_damaged_index_is_made_anew(root, monkeypatch, damage):
    expected, content = tables(Store(root)), filled(root, monkeypatch)
    path = root.parent / "index" / "summaries.jsonl"
    altered = bytearray(content)
    altered[len(altered) // 2] ^= 4
    line = json.loads(content)
    del line["crc"]
    other = sealed(json.dumps({**line, "version": "another"}).encode())
    changed = {"flip": bytes(altered), "cut": content[:-40], "empty": b"", "text": b"no index\n", "version": other}
    path.unlink()
    if damage != "missing":
        path.write_bytes(changed[damage])
    store = indexed(root)
    assert tables(store) == expected
    assert store.summaries.read > 10
    store.keep_index()
    assert path.read_bytes() == content


def test_what_the_index_says_is_used_only_for_the_same_file(root, monkeypatch):
    """A planted lie: the index of one file under the signature of another is not believed."""
    content = filled(root, monkeypatch)
    line = json.loads(content)
    del line["crc"]
    for files in line["files"]:
        for entry in files:
            entry[1][0] += 1
    (root.parent / "index" / "summaries.jsonl").write_bytes(sealed(json.dumps(line).encode()))
    store = indexed(root)
    tables(store)
    assert store.summaries.read > 10


def test_a_run_that_is_gone_leaves_the_index(root, monkeypatch):
    content = filled(root, monkeypatch)
    run = next(one for one in Store(root).runs() if one.status == "ok")
    for path in run.folder.iterdir():
        path.unlink()
    run.folder.rmdir()
    run.folder.parent.rmdir()
    (root.parent / "index" / "summaries.jsonl").unlink()
    assert run.run_id.encode() in content
    assert run.run_id.encode() not in filled(root, monkeypatch)


def test_an_index_that_cannot_be_written_stops_nobody(root, monkeypatch):
    expected = tables(Store(root))
    (root.parent / "index").write_text("a file where the folder should be")
    monkeypatch.setattr(store_module, "gather", lambda *_: None)
    store = indexed(root)
    assert tables(store) == expected
    store.keep_index()
    assert (root.parent / "index").is_file()


def test_few_runs_make_no_index(root, monkeypatch):
    monkeypatch.setattr(store_module, "MANY", 2000)
    store = indexed(root)
    tables(store)
    store.keep_index()
    assert not (root.parent / "index").exists()


def test_a_file_that_has_just_changed_is_not_kept(tmp_path):
    with RecordWriter(tmp_path / "train.jsonl") as record:
        record.append("begin", run_id="a")
    fresh = Summaries()
    for _ in range(2):
        fresh.training(str(tmp_path / "train.jsonl"))
    assert (fresh.read, fresh.count) == (2, 0)
    settled = Summaries(settled_seconds=-1)
    for _ in range(2):
        settled.training(str(tmp_path / "train.jsonl"))
    assert (settled.read, settled.count) == (1, 1)


def test_the_version_of_the_index_follows_the_code(monkeypatch):
    before = index_module.version()
    index_module.version.cache_clear()
    monkeypatch.setattr(index_module, "_SOURCES", index_module._SOURCES[:-1])
    assert index_module.version() != before
    index_module.version.cache_clear()
