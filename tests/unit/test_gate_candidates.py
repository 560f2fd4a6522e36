"""Which recorded runs show what the current code does."""

from __future__ import annotations

import pytest

from bench.config.overrides import parse_set_options
from bench.config.suite import load_suite
from bench.env import package_versions
from bench.gate.candidates import differing_settings, find_candidates, packages_differ
from bench.records import RecordWriter, Store
from bench.sweep.todo import find_todo

OPTIONS = ["seeds=2", "methods=[erm]", "evals=[]", "protocol.epochs=1", "protocol.warmup_epochs=0"]


@pytest.fixture
def suite(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path / "cache"))
    return load_suite("quickstart", parse_set_options(OPTIONS))


def record(item, store, *, status="ok", digest=None, packages=None):
    with RecordWriter(store.new_attempt(item.spec.run_id) / "train.jsonl") as writer:
        writer.append(
            "begin", schema=1, run_id=item.spec.run_id, spec=item.spec.model_dump(mode="json"),
            labels=item.spec.labels.model_dump(), source_digest=digest or item.source_digest, planned=[0],
            provenance={"packages": packages or package_versions()},
        )  # fmt: skip
        writer.append("epoch", epoch=1, test={"top1": 0.5, "nll": 1.0, "n": 10})
        writer.append("end", status=status, reason="because", seconds=1.0)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, ""),
        ({"status": "diverged"}, "diverged: because"),
        ({"digest": "older"}, "only records of other source code"),
        ({"packages": {**package_versions(), "torch": "1.0"}}, "made with other packages (torch 1.0, here "),
    ],
)
def test_a_run_counts_only_if_this_code_made_it_to_the_end(suite, tmp_path, options, why):
    store = Store(tmp_path / "records")
    record(find_todo(suite, store)[1], store, **options)
    (candidate,) = find_candidates([suite, suite], store)
    assert [run.seed for run in candidate.runs] == [0, 1]
    assert candidate.runs[0].why == "no record"
    assert candidate.runs[1].why.startswith(why)
    assert (candidate.runs[1].record is not None) == (why == "")
    assert candidate.reference == candidate.arm


def test_builds_of_one_release_are_one_release():
    here = {name: f"{str(version).split('+')[0]}+other" for name, version in package_versions().items()}
    assert packages_differ({"packages": here}) == ""
    assert "numpy 0.1" in packages_differ({"packages": {**here, "numpy": "0.1"}})
    assert packages_differ({}) != ""


def test_settings_that_differ_are_named():
    before = {"protocol": {"precision": "fp32", "epochs": 3}, "method": {"parameters": {}}}
    now = {"protocol": {"precision": "bf16", "epochs": 3}, "method": {"parameters": {"alpha": 1}}}
    assert differing_settings(before, now).startswith(
        "protocol.precision fp32 -> bf16; method.parameters.alpha not set -> 1"
    )
    many = differing_settings({str(key): 0 for key in range(9)}, {})
    assert many.endswith("and 5 more")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"digest": "older"}, ""),
        ({"packages": {**package_versions(), "torch": "1.0"}}, ""),
        ({"status": "diverged"}, "diverged: because"),
    ],
)
def test_recorded_runs_count_whatever_code_made_them(suite, tmp_path, options, why):
    store = Store(tmp_path / "records")
    record(find_todo(suite, store)[1], store, **options)
    (candidate,) = find_candidates([suite], store, recorded=True)
    assert [run.why for run in candidate.runs] == ["no record", why]
    assert (candidate.runs[1].record is not None) == (why == "")


@pytest.mark.parametrize(
    ("end", "lost", "unfinished"),
    [("ok", False, False), ("error", False, True), (None, False, True), ("ok", True, True)],
)
def test_a_recorded_evaluation_counts_only_when_it_is_complete(tmp_path, monkeypatch, end, lost, unfinished):
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path / "cache"))
    planned = load_suite("quickstart", parse_set_options([*OPTIONS[:2], "evals=[digits-fgsm]", *OPTIONS[3:]]))
    store = Store(tmp_path / "records")
    item = find_todo(planned, store)[0]
    record(item, store, digest="older")
    (attempt,) = store.attempts(item.spec.run_id)
    file = attempt.folder / "eval-digits-fgsm-1.jsonl"
    with RecordWriter(file) as writer:
        writer.append("begin", title="FGSM", evaluator="fgsm", settings={}, digest="0" * 16, source_digest="older")
        writer.append("metric", name="fgsm_top1", value=0.5, detail={"eps_255": 1})
        if end:
            writer.append("end", status=end, seconds=1.0)
    if lost:
        file.write_bytes(file.read_bytes().replace(b'"value":0.5', b'"value":0.6'))
    (candidate,) = find_candidates([planned], store, recorded=True)
    assert candidate.runs[0].unfinished == ({"digits-fgsm"} if unfinished else set())
    assert candidate.runs[1].unfinished == {"digits-fgsm"}
