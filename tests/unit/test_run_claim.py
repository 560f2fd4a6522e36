"""A worker's claim: what was done to a run since it was planned is seen, and an old holder's attempt is left alone."""

from __future__ import annotations

import pytest

from bench.records import CHECKPOINT_FILE, RecordWriter, Store
from bench.records.lease import acquire, holder
from bench.run.claim import Claim, Elsewhere, attempts_of, finished_evaluation


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "records")


def write(folder, *kinds):
    with RecordWriter(folder / "train.jsonl") as record:
        for kind in kinds:
            record.append(kind, **({"status": "ok"} if kind == "end" else {"spec": {"seed": 1}}))


def task(store, folder, seen, **fields):
    leases = str(store.root.parent / "leases")
    lease = {"folder": leases, "seconds": 60.0, "seen": seen, "expired": None, "copy": None}
    return {"name": "r", "folder": str(folder), "lease": {**lease, **fields}}


def test_a_run_as_planned_is_held_inside_and_free_outside(store):
    folder = store.new_attempt("r")
    with Claim(task(store, folder, [])) as claim:
        assert holder(store.root.parent / "leases", "r") is not None
        assert not claim.lost
        with pytest.raises(Elsewhere, match="another sweep"), Claim(task(store, folder, [])):
            raise AssertionError("held twice")
    assert holder(store.root.parent / "leases", "r") is None


def test_a_run_that_changed_since_it_was_planned_is_left(store):
    planned = attempts_of(store, "r")
    write(store.new_attempt("r"), "begin", "end")
    for seen in (planned, [["another", "ok"]]):
        with pytest.raises(Elsewhere, match="since it was planned"), Claim(task(store, store.new_attempt("r"), seen)):
            raise AssertionError("done again")
        assert holder(store.root.parent / "leases", "r") is None
    with Claim(task(store, store.new_attempt("r"), attempts_of(store, "r"))):
        pass


def test_a_task_without_a_lease_is_not_held(tmp_path):
    with Claim({"name": "r", "folder": str(tmp_path)}) as claim:
        assert not claim.lost


def test_an_expired_attempt_is_copied_not_continued(store):
    old = store.new_attempt("r")
    write(old, "begin", "epoch")
    (old / CHECKPOINT_FILE).write_bytes(b"state")
    before = {path.name: path.read_bytes() for path in old.iterdir()}
    leases = store.root.parent / "leases"
    held = acquire(leases, "r")
    expired = holder(leases, "r").content
    new = store.new_attempt("r")
    with Claim(task(store, new, attempts_of(store, "r"), expired=expired, copy=str(old))):
        write(new, "resume", "end")
        assert (new / CHECKPOINT_FILE).read_bytes() == b"state"
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before
    assert (new / "train.jsonl").read_bytes().startswith(before["train.jsonl"])
    assert [status for _, status in attempts_of(store, "r")] == ["incomplete", "ok"]
    assert store.run("r").attempt == new.name
    held.release()


def test_which_evaluations_are_finished(tmp_path):
    file = tmp_path / "eval-clean-1.jsonl"
    assert not finished_evaluation(file)
    with RecordWriter(file) as record:
        record.append("begin")
        record.append("metric", name="top1", value=0.5, detail={})
    assert not finished_evaluation(file)
    with RecordWriter(file) as record:
        record.append("end", status="ok")
    assert finished_evaluation(file)
    text = file.read_text()
    file.write_text(text.replace('"value":0.5', '"value":0.6'))
    assert not finished_evaluation(file)
