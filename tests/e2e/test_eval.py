"""Evaluating what is trained already: single runs, groups of evaluators, networks trained elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

GROUP = "title: two\nevals: [clean, digits-fgsm]\n"
CHECKPOINT = ("--data", "digits", "--backbone", "test_resnet", "--set", "data.train_per_class=3", "--device", "cpu")


@pytest.fixture(scope="module")
def trained(make_mixbench):
    mixbench = make_mixbench()
    mixbench.write("evals/two.yaml", GROUP)
    done = mixbench("run", "tiny", "--device", "cpu", "--set", "methods=[erm]", "--set", "seeds=1", "--no-figures")
    assert done.returncode == 0, done.stderr
    return mixbench


def evaluators(folder: Path) -> set[str]:
    return {path.name.split("-1.jsonl")[0] for path in folder.rglob("eval-*.jsonl")}


def metrics(path: Path) -> dict[str, float]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {line["name"] + json.dumps(line["detail"]): line["value"] for line in lines if line["kind"] == "metric"}


def test_a_run_by_the_beginning_of_its_id_and_a_group_by_name(trained):
    (folder,) = [path for path in trained.records.iterdir() if path.is_dir() and len(path.name) == 16][:1]
    done = trained("eval", folder.name[:8], "--suite", "two", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert evaluators(folder) == {"eval-clean", "eval-digits-fgsm"}
    assert "Starting" not in trained("eval", folder.name, "--suite", "two").stderr
    nothing = trained("eval", "00000000", "--suite", "two")
    assert nothing.returncode == 2
    assert "no runs in" in nothing.stderr


def test_a_checkpoint_gets_the_numbers_of_the_run_that_it_came_from(trained, tmp_path):
    (weights,) = trained.records.rglob("weights.safetensors")
    own = metrics(next(trained.records.rglob("eval-clean-1.jsonl")))
    file = tmp_path / "elsewhere.pth"
    torch.save({"state_dict": {f"module.{key}": value for key, value in load_file(weights).items()}}, file)
    results = ("--results", str(tmp_path / "results"))
    done = trained("eval", "--checkpoint", str(file), *CHECKPOINT, *results, "--normalisation", "data")
    assert done.returncode == 0, done.stderr
    (record,) = (tmp_path / "results").rglob("eval-clean-1.jsonl")
    assert metrics(record) == own
    assert "elsewhere" in done.stdout
    assert "trained elsewhere" in (tmp_path / "results/tables/checkpoints/accuracy.csv").read_text()
    other = trained("eval", "--checkpoint", str(file), *CHECKPOINT, *results, "--normalisation", "none")
    assert other.returncode == 0, other.stderr
    assert len(list((tmp_path / "results").rglob("eval-clean-1.jsonl"))) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--normalisation: what the checkpoints were trained with is unknown"),
        (("--normalisation", "backbone", "--backbone", "vit_tiny_patch16_224"), "channels"),
        (("--normalisation", "data", "--backbone", "test_vit"), "does not fit test_vit with 10 classes"),
        (("--normalisation", "data", "--data", "digts"), "did you mean 'digits'"),
        (("--normalisation", "data", "--suite", "cleen"), "unknown evaluator 'cleen'; did you mean 'clean'"),
    ],
)
def test_what_does_not_go_is_one_line(trained, tmp_path, options, message):
    (weights,) = trained.records.rglob("weights.safetensors")
    done = trained("eval", "--checkpoint", str(weights), *CHECKPOINT, *options, "--results", str(tmp_path))
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert message in line
    assert not [path for path in tmp_path.rglob("*") if path.is_dir() and len(path.name) > 20]


def test_a_damaged_or_dangerous_checkpoint_is_refused(trained, tmp_path):
    results = ("--results", str(tmp_path / "results"), "--normalisation", "data")
    garbage = tmp_path / "garbage.pth"
    garbage.write_bytes(b"not a checkpoint")
    code = tmp_path / "code.pth"
    torch.save({"state_dict": Path("x")}, code)
    empty = tmp_path / "empty.pth"
    torch.save({"state_dict": {}}, empty)
    for file in (garbage, code, empty, tmp_path / "missing.pth"):
        done = trained("eval", "--checkpoint", str(file), *CHECKPOINT, *results)
        assert done.returncode == 2, (file, done.stderr)
        assert str(file) in done.stderr
        assert "Traceback" not in done.stderr


def test_an_evaluator_that_does_not_fit_is_one_line_and_the_others_are_done(trained, tmp_path):
    (weights,) = trained.records.rglob("weights.safetensors")
    options = ("--normalisation", "data", "--results", str(tmp_path))
    done = trained("eval", "--checkpoint", str(weights), *CHECKPOINT, *options, "--evals", "corruptions,clean")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("mixbench: corruptions: ")
    assert "Traceback" not in done.stderr
    assert "ACCURACY" in done.stdout
    assert len(list(tmp_path.rglob("eval-clean-1.jsonl"))) == 1
    again = trained("eval", "--checkpoint", str(weights), *CHECKPOINT, *options, "--evals", "clean")
    assert again.returncode == 0, again.stderr


def test_another_runs_network_is_there_after_the_sweep(make_mixbench):
    mixbench = make_mixbench()
    mixbench.write("eval/few.yaml", "evaluator: intrusion\nimages: 32\nmixing_batch: 16\nsteps: 2\n")
    options = ("--set", "evals=[few]", "--set", "methods=[erm,mixup]", "--no-figures", "--device", "cpu")
    done = mixbench("run", "tiny", *options)
    assert done.returncode == 0, done.stderr
    records = list(mixbench.records.rglob("eval-few-1.jsonl"))
    begins = [json.loads(path.read_text().splitlines()[0]) for path in records]
    assert len(begins) == 4
    assert all(begin["others"]["erm"] != path.parts[-3] for begin, path in zip(begins, records, strict=True))
    assert len({begin["others"]["erm"] for begin in begins}) == 2
    assert any(value is not None and 0 <= value <= 1 for path in records for value in metrics(path).values())


def test_no_temperature_is_fitted_on_images_that_a_stranger_may_have_trained_on(trained, tmp_path):
    (weights,) = trained.records.rglob("weights.safetensors")
    options = ("--normalisation", "data", "--results", str(tmp_path), "--set", "data.validation=0.2")
    done = trained("eval", "--checkpoint", str(weights), *CHECKPOINT, *options, "--evals", "calibration")
    assert done.returncode == 0, done.stderr
    (record,) = tmp_path.rglob("eval-calibration-1.jsonl")
    values = metrics(record)
    assert values["temperature{}"] is None
    assert values['nll{"scaled": false}'] > 0
