"""The gate as CI uses it: accept, gate the unchanged tree, other seeds, a broken method, a missing row, bad files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

import bench

PROTOCOL = """
epochs: 30
batch_size: 15
optimizer: adamw
learning_rate: 2e-3
evaluate_every: 30
"""
SUITE = """
title: gated
data: digits
backbone: test_resnet
protocol: gated
methods: [erm, mixup]
seeds: 3
evals: []
set:
  data.train_per_class: 3
"""
BASELINE = ("--baseline", "baseline.json")


@pytest.fixture(scope="module")
def gated(make_mixbench):
    """A copy of the package stands first on the path; the suite has run and its numbers are the baseline."""
    mixbench = make_mixbench()
    root = Path(bench.__file__).parent.parent
    for name in ("bench", "methods", "configs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(root / name, mixbench.folder / "copy" / name, ignore=ignored)
    mixbench.environment["PYTHONPATH"] = str(mixbench.folder / "copy")
    mixbench.write("suite/gated.yaml", SUITE)
    mixbench.write("protocol/gated.yaml", PROTOCOL)
    early = mixbench("gate", "accept", "gated", *BASELINE, "--reason", "too early")
    assert (early.returncode, "no records here" in early.stderr) == (2, True)
    ran = mixbench("run", "gated", "--no-figures", "--workers", "1")
    assert ran.returncode == 0, ran.stderr
    accepted = mixbench("gate", "accept", "gated", *BASELINE, "--reason", "first", "--margin", "10")
    assert accepted.returncode == 0, accepted.stderr
    assert "finds: the smallest true drop" in accepted.stdout
    assert json.loads((mixbench.folder / "baseline.json").read_text())["alpha"] == 0.05
    strict = ("--baseline", "strict.json", "--reason", "first")
    accepted = mixbench("gate", "accept", "gated", *strict, "--margin", "10", "--alpha", "0.01")
    assert json.loads((mixbench.folder / "strict.json").read_text())["alpha"] == 0.01, accepted.stderr
    refused = mixbench("gate", "accept", "gated", *strict, "--alpha", "1")
    assert (refused.returncode, "--alpha: is a chance between" in refused.stderr) == (2, True), refused.stderr
    return mixbench


def verdicts(mixbench, *arguments: str) -> tuple[int, dict[str, str]]:
    done = mixbench("gate", "accuracy", *BASELINE, "--json", "outcome.json", *arguments)
    assert done.returncode in (0, 1, 3), done.stderr
    assert "Traceback" not in done.stderr
    plain = json.loads((mixbench.folder / "outcome.json").read_text())
    assert plain["exit_code"] == done.returncode
    return done.returncode, {row["method"]: row["verdict"] for row in plain["rows"]}


def test_an_unchanged_tree_passes_at_once_without_training(gated):
    before = gated.ended()
    code, found = verdicts(gated, "--run", "--junit", "outcome.xml")
    assert (code, found) == (0, {"erm": "pass", "mixup": "pass"})
    assert gated.ended() == before
    outcome = json.loads((gated.folder / "outcome.json").read_text())
    assert all("identical" in row["reason"] for row in outcome["rows"])
    assert ElementTree.parse(gated.folder / "outcome.xml").getroot().get("failures") == "0"


def test_other_seeds_are_judged_by_numbers(gated):
    code, found = verdicts(gated, "--run", "--workers", "1", "--set", "seeds=[10,11,12]")
    assert code in (0, 3)
    assert set(found.values()) <= {"pass", "inconclusive"}
    outcome = json.loads((gated.folder / "outcome.json").read_text())
    assert all(row["change"] is not None and row["n_after"] in (1, 3) for row in outcome["rows"])


def test_a_broken_method_regresses_and_stale_records_do_not_hide_it(gated):
    file = gated.folder / "copy" / "methods" / "mixup.py"
    healthy = file.read_text()
    broken = healthy.replace("batch.labels, permutation, lam)", "batch.labels.roll(1), permutation, lam)")
    assert broken != healthy
    file.write_text(broken)
    try:
        code, found = verdicts(gated)
        assert (code, found) == (3, {"erm": "pass", "mixup": "missing"})
        code, found = verdicts(gated, "--run", "--workers", "1")
        assert (code, found) == (1, {"erm": "pass", "mixup": "regression"})
        accepted = gated("gate", "accept", "gated", "--baseline", "other.json", "--reason", "half is stale")
        assert (accepted.returncode, "mixup" in accepted.stderr) == (3, True)
        past = ("--baseline", "past.json", "--reason", "what is on record", "--recorded")
        accepted = gated("gate", "accept", "gated", *past)
        assert accepted.returncode == 0, accepted.stderr
        assert "mixup: its runs were made by 2 versions of the code." in accepted.stdout
        assert "erm: its runs" not in accepted.stdout
        judged = gated(
            "gate", "accuracy", "--baseline", "past.json", "--set", "seeds=[1,2]", "--json", "past-outcome.json"
        )
        plain = json.loads((gated.folder / "past-outcome.json").read_text())
        assert {row["method"]: row["verdict"] for row in plain["rows"]} == {"erm": "pass", "mixup": "missing"}
        assert judged.returncode == 3
    finally:
        file.write_text(healthy)


def test_a_missing_row_and_another_protocol_exit_3(gated):
    code, found = verdicts(gated, "gated", "--set", "methods=[erm]")
    assert (code, found) == (3, {"erm": "pass", "mixup": "missing"})
    code, found = verdicts(gated, "gated", "--set", "protocol.precision=bf16")
    assert (code, found) == (3, {"erm": "not comparable", "mixup": "not comparable"})
    outcome = json.loads((gated.folder / "outcome.json").read_text())
    assert "protocol.precision fp32 -> bf16" in outcome["rows"][0]["reason"]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: text[: len(text) // 2], "is not JSON"),
        (lambda text: text.replace('"batch_size": 15', '"batch_size": 16'), "the spec does not give the arm's id"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 9'), "has schema version 9"),
    ],
)
def test_a_damaged_baseline_is_bad_input(gated, damage, told):
    text = (gated.folder / "baseline.json").read_text()
    (gated.folder / "damaged.json").write_text(damage(text))
    done = gated("gate", "accuracy", "--baseline", "damaged.json")
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
