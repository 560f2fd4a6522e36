"""What is left to do, from attempts with the current source, with an older one, and with none."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.config.catalogue import method_facts
from bench.config.overrides import parse_set_options
from bench.config.suite import load_suite
from bench.evals.registry import EvalArm
from bench.records import CHECKPOINT_FILE, METHOD_FILE, WEIGHTS_FILE, RecordWriter, Store, file_facts
from bench.sources import method_source_digest
from bench.sweep.chosen_runs import run_suite
from bench.sweep.todo import find_todo

OPTIONS = ["seeds=1", "methods=[erm]", "evals=[]", "protocol.epochs=1", "protocol.warmup_epochs=0"]


@pytest.fixture
def suite(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path / "cache"))
    return load_suite("quickstart", parse_set_options(OPTIONS))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "records")


def attempt(suite, store, status: str | None, current: bool = True, checkpoint: bool = False):
    (item,) = find_todo(suite, store)
    digest = method_source_digest(method_facts("erm").path) if current else "another"
    folder = store.new_attempt(item.spec.run_id)
    with RecordWriter(folder / "train.jsonl") as record:
        record.append(
            "begin", schema=1, run_id=item.spec.run_id, spec=item.spec.model_dump(mode="json"),
            labels=item.spec.labels.model_dump(), provenance={}, source_digest=digest, planned=[0],
        )  # fmt: skip
        record.append("epoch", epoch=1, test={"top1": 0.5, "nll": 1.0, "n": 10})
        if status is not None:
            record.append("end", status=status, reason=None, seconds=1.0)
    if checkpoint:
        (folder / CHECKPOINT_FILE).write_bytes(b"x")
    return folder


def need(suite, store) -> str:
    (item,) = find_todo(suite, store)
    return item.need


def test_nothing_recorded_means_train(suite, store):
    assert need(suite, store) == "train"


@pytest.mark.parametrize("status", ["ok", "skipped", "diverged"])
def test_final_endings_stand(suite, store, status):
    attempt(suite, store, status)
    assert need(suite, store) == "nothing"


@pytest.mark.parametrize("status", ["error", "oom", "timeout", "interrupted", None])
def test_other_endings_are_done_again(suite, store, status):
    attempt(suite, store, status)
    assert need(suite, store) == "train"


@pytest.mark.parametrize("status", ["interrupted", "oom", None])
def test_a_checkpoint_is_used(suite, store, status):
    folder = attempt(suite, store, status, checkpoint=True)
    (item,) = find_todo(suite, store)
    assert (item.need, item.folder) == ("resume", folder)


def test_an_old_source_is_stale(suite, store):
    attempt(suite, store, "ok", current=False)
    (item,) = find_todo(suite, store)
    assert item.need == "train"
    assert item.why.startswith("stale")


def test_a_stale_success_does_not_hide_newer_attempts(suite, store):
    attempt(suite, store, "ok", current=False)
    folder = attempt(suite, store, None, checkpoint=True)
    (item,) = find_todo(suite, store)
    assert (item.need, item.folder) == ("resume", folder)
    attempt(suite, store, "diverged")
    (item,) = find_todo(suite, store)
    assert (item.need, item.record.status) == ("nothing", "diverged")


@pytest.mark.parametrize("name", [WEIGHTS_FILE, METHOD_FILE])
def test_a_finished_run_without_whole_weights_is_trained_again_only_where_they_are_wanted(
    store, tmp_path, monkeypatch, name
):
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path / "cache"))
    plain, evaluated = (load_suite("quickstart", parse_set_options([*OPTIONS[:2], f"evals={evals}", *OPTIONS[3:]]))
                        for evals in ("[]", "[clean]"))  # fmt: skip
    folder = attempt(plain, store, None)
    (folder / name).write_bytes(b"weights")
    with RecordWriter(folder / "train.jsonl") as record:
        record.append("file", name=name, **file_facts(b"weights"))
        record.append("end", status="ok", reason=None, seconds=1.0)
    assert need(evaluated, store) == "evaluate"
    for content, problem in ((b"weight!", "damaged"), (None, "missing")):
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)
        (item,) = find_todo(evaluated, store)
        assert (item.need, item.why, item.folder) == ("train", f"its {name} is {problem}", None)
        assert need(plain, store) == "nothing"


def test_an_edit_that_was_taken_back_finds_its_old_run(suite, store):
    folder = attempt(suite, store, "ok")
    attempt(suite, store, "ok", current=False)
    (item,) = find_todo(suite, store)
    assert (item.need, item.record.folder) == ("nothing", folder)


@pytest.fixture
def pairs(monkeypatch, tmp_path):
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path / "cache"))
    return load_suite("quickstart", parse_set_options(["seeds=2", "methods=[erm,mixup]", "evals=[clean,intrusion]"]))


def finish(item, store):
    folder = store.new_attempt(item.spec.run_id)
    with RecordWriter(folder / "train.jsonl") as record:
        record.append(
            "begin", schema=1, run_id=item.spec.run_id, spec=item.spec.model_dump(mode="json"),
            labels=item.spec.labels.model_dump(), provenance={}, source_digest=item.source_digest, planned=[0, 1],
        )  # fmt: skip
        record.append("end", status="ok", reason=None, seconds=1.0)


def evaluate(item, evals=None):
    for each in evals if evals is not None else item.evals:
        with RecordWriter(Path(each["file"])) as record:
            arm = EvalArm(**each["arm"])
            others = {name: other["run_id"] for name, other in each["others"].items()}
            record.append("begin", digest=arm.digest, source_digest=each["source_digest"], others=others)
            record.append("metric", name="top1", value=0.5, detail={})
            record.append("end", status="ok")


def test_an_evaluator_gets_the_erm_run_of_another_seed(pairs, store):
    items = find_todo(pairs, store)
    for item in items:
        finish(item, store)
    ids = {(item.spec.labels.method, item.spec.seed): item.spec.run_id for item in items}
    for item in find_todo(pairs, store):
        assert item.need == "evaluate"
        others = {each["arm"]["name"]: each["others"] for each in item.evals}
        assert others["clean"] == {}
        assert others["intrusion"]["erm"]["run_id"] == ids["erm", 1 - item.spec.seed]
        evaluate(item)
    assert {item.need for item in find_todo(pairs, store)} == {"nothing"}


def test_an_evaluation_without_the_other_run_is_done_again_once_it_is_there(pairs, store):
    erm, mixup, *late = find_todo(pairs, store)
    assert (erm.spec.labels.method, mixup.spec.labels.method) == ("erm", "mixup")
    for item in (erm, mixup):
        finish(item, store)
    for item in find_todo(pairs, store)[:1]:
        assert [each["others"] for each in item.evals] == [{}, {}]
        evaluate(item)
    assert find_todo(pairs, store)[0].need == "nothing"
    for item in late:
        finish(item, store)
    again = find_todo(pairs, store)[0]
    assert [each["arm"]["name"] for each in again.evals] == ["intrusion"]
    assert again.evals[0]["file"].endswith("eval-intrusion-1.2.jsonl")
    assert again.evals[0]["carried"].endswith("eval-intrusion-1.jsonl")


def test_settings_that_were_changed_and_put_back_are_evaluated_anew_in_a_newer_file(pairs, store):
    for item in find_todo(pairs, store):
        finish(item, store)
    first, *_ = find_todo(pairs, store)
    evaluate(first)
    folder = first.record.folder
    with RecordWriter(folder / "eval-clean-1.2.jsonl") as record:
        record.append("begin", digest="of other settings", source_digest="of other code", others={})
        record.append("end", status="ok")
    (again,) = find_todo(pairs, store)[0].evals
    assert again["file"] == str(folder / "eval-clean-1.3.jsonl")
    assert again["carried"] is None
    evaluate(first, [again])
    assert find_todo(pairs, store)[0].need == "nothing"


def test_a_single_run_finds_its_partner_outside_its_suite(pairs, store):
    items = find_todo(pairs, store)
    for item in items:
        finish(item, store)
    evaluated = find_todo(pairs, store)
    for item in evaluated:
        evaluate(item)
    alone = run_suite(items[0].spec.run_id, store, ["clean", "intrusion"])
    assert [planned.spec.data.digest for planned in alone.planned] == [None], "the data are looked at again"
    (item,) = find_todo(alone, store)
    assert item.need == "nothing"
    assert item.others["erm"]["run_id"] == evaluated[0].others["erm"]["run_id"]


def test_a_finished_evaluation_stays_when_a_run_with_a_lower_seed_joins(pairs, store):
    erm, mixup, other_erm, other_mixup = find_todo(pairs, store)
    for item in (other_erm, other_mixup, mixup):
        finish(item, store)
    by_id = {item.spec.run_id: item for item in find_todo(pairs, store)}
    late = by_id[mixup.spec.run_id]
    assert late.others["erm"]["run_id"] == other_erm.spec.run_id
    evaluate(late)
    evaluate(by_id[other_mixup.spec.run_id])
    finish(erm, store)
    after = {item.spec.run_id: item for item in find_todo(pairs, store)}
    assert after[mixup.spec.run_id].need == "nothing"
    assert [each["arm"]["name"] for each in after[other_mixup.spec.run_id].evals] == ["intrusion"]
