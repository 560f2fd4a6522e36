"""A whole tuning on digits: trials that never see a test image, a failing one, the tuned suite, going on after a stop."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

TUNE = ("tune", "tiny", "--workers", "1", "--set", "data.validation=0.1", "--set", "seeds=1")
METHOD = """
title: Manifold Mixup
implementation: manifold_mixup
search:
  alpha: {low: 0.1, high: 4.0, scale: log}
  deepest_stage: [2, 9]  # the network has no nine stages, so such a trial is skipped
"""
FAIR = """
title: equal compute
data: digits
backbone: test_resnet
protocol: tiny
methods: [erm, mixup]
seeds: 1
evals: []
set:
  data.train_per_class: 3
compute: here
"""
COST = """
title: step times
hardware: a machine
torch: any
reference: erm
cells:
  - {data: digits, backbone: test_resnet, protocol: tiny, batch_size: 10, precision: fp32, rounds: 9,
     ratios: {erm: 1.0, mixup: 2.0}}
"""


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def tuned(make_mixbench):
    """Tuned once with three trials; the other tests look at it, and the last one goes on with it."""
    mixbench = make_mixbench()
    mixbench.write("method/manifold_mixup.yaml", METHOD)
    suite = mixbench.folder / "configs" / "suite" / "tiny.yaml"
    suite.write_text(suite.read_text().replace("[erm, mixup]", "[erm, manifold_mixup]"))
    mixbench.first = mixbench(*TUNE, "--trials", "4")
    mixbench.out = mixbench.folder / "results" / "local" / "tuning"
    return mixbench


def test_trials_never_see_a_test_image_and_stay_off_the_boards(tuned):
    assert tuned.first.returncode == 0, tuned.first.stderr
    files = list((tuned.out / "records").glob("*/*/train.jsonl"))
    assert len(files) == 4
    assert re.search(r"trial 1 seed 90001 \(.*\): ok, validation top-1 \d+\.\d %, ", tuned.first.stderr)
    assert not re.search(r"trial \d+ seed \d+ .*test top-1", tuned.first.stderr)
    for file in files:
        found = lines(file)
        assert found[0]["spec"]["seed"] == 90001
        assert all(line["test"] is None for line in found if line["kind"] == "epoch")
        assert not [line for line in found if line["kind"] == "epoch" and line["epoch"] == 2 and not line["validation"]]
        assert sorted(path.name for path in file.parent.iterdir()) == ["log.txt", "train.jsonl"]
    seeds = {lines(file)[0]["spec"]["seed"] for file in tuned.records.glob("*/*/train.jsonl")}
    assert seeds == {0}


def test_the_tables_tell_trials_choice_and_failure(tuned):
    erm, manifold = rows(tuned.out / "tiny" / "tuning.csv")
    assert (erm["trials"], erm["searched"]) == ("0", "nothing to tune")
    assert manifold["trials"] == "4"
    trials = rows(tuned.out / "tiny" / "trials.csv")
    skipped = [row for row in trials if row["status"] == "skipped"]
    assert 1 <= len(skipped) == int(manifold["trials_failed"]) < 4
    assert "mixes after stage 9" in skipped[0]["reason"]
    best = max(float(row["validation_top1"]) for row in trials if row["validation_top1"])
    (chosen,) = [row for row in trials if row["chosen"] == "1"]
    assert float(chosen["validation_top1"]) == best
    assert float(manifold["gap"]) == pytest.approx(
        float(manifold["tuned_top1"]) - float(manifold["default_top1"]), abs=0.011
    )
    assert "nothing to tune" in tuned.first.stdout


def test_the_tuned_suite_is_a_suite_as_any_other(tuned):
    suite = str(tuned.out / "tiny" / "suite" / "tiny-tuned.yaml")
    plan = tuned("run", suite, "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert ["nothing" in line for line in plan.stdout.splitlines()] == [True, True]
    assert "manifold_mixup-tuned seed 0" in plan.stdout


def test_an_interrupted_tuning_goes_on_from_its_records_to_the_same_numbers(tuned):
    before = {name: (tuned.out / "tiny" / name).read_bytes() for name in ("tuning.csv", "trials.csv")}
    ran = {file for file in (tuned.out / "records").glob("*/*/train.jsonl") if '"status":"ok"' in file.read_text()}
    lost = sorted(ran)[0].parent.parent
    shutil.rmtree(lost)
    again = tuned(*TUNE, "--trials", "4")
    assert again.returncode == 0, again.stderr
    assert "4 runs, 3 of them done already" in again.stderr
    assert {name: (tuned.out / "tiny" / name).read_bytes() for name in before} == before


def test_other_settings_overwrite_nothing(tuned):
    before = {path: path.read_bytes() for path in tuned.out.rglob("*") if path.is_file()}
    refused = tuned(*TUNE, "--trials", "4", "--seed", "7")
    assert refused.returncode == 2
    assert "tuning/tiny: holds a tuning with other settings (trials 4" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert {path: path.read_bytes() for path in tuned.out.rglob("*") if path.is_file()} == before


def test_without_validation_images_nothing_is_trained(mixbench):
    refused = mixbench("tune", "tiny", "--trials", "2")
    assert refused.returncode == 2
    assert "add --set data.validation=0.1" in refused.stderr
    assert not list(mixbench.folder.glob("results/**/train.jsonl"))


def test_equal_compute_trains_the_fitted_epochs(mixbench):
    mixbench.write("suite/fair.yaml", FAIR)
    mixbench.write("cost/here.yaml", COST)
    done = mixbench("run", "fair", "--no-figures", "--workers", "1")
    assert done.returncode == 0, done.stderr
    accuracy = rows(mixbench.folder / "results" / "local" / "tables" / "fair" / "accuracy.csv")
    assert [row["protocol"] for row in accuracy] == ["tiny-equal-compute"] * 2
    assert "epochs = 1 (equal compute: a step takes 2 x erm's on a machine" in accuracy[1]["footnotes"]
    found = {}
    for file in mixbench.records.glob("*/*/train.jsonl"):
        read = lines(file)
        found[read[0]["labels"]["method"]] = sum(line["kind"] == "epoch" for line in read)
    assert found == {"erm": 2, "mixup": 1}
