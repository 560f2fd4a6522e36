"""The index of summaries is a cache that nobody has to trust: what changed, is damaged or is missing is read again."""

from __future__ import annotations

import json
import os
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
