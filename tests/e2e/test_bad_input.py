"""What a person gets wrong: one line on stderr, exit code 2, no traceback, nothing written."""

from __future__ import annotations

import pytest

AT_ONCE = [
    (("run", "quikstart"), "did you mean 'quickstart'?"),
    (("run", "nowhere/x.yaml"), "no such suite file"),
    (("run", "tiny", "--set", "protocol.epochs=0"), "'protocol.epochs' must be greater than or equal to 1, not 0"),
    (("run", "tiny", "--set", "protocol.epoch=1"), "did you mean 'epochs'?"),
    (("run", "tiny", "--set", "method.alpha=-1"), "'method.alpha' must be greater than or equal to 0"),
    (("run", "tiny", "--set", "methods=[mixxup]"), "did you mean 'mixup'?"),
    (("run", "tiny", "--set", "data=folder", "--set", "data.root=missing-folder"), "missing-folder"),
    (("run", "tiny", "--workers", "0"), "must be a whole number from 1"),
    (("eval", "tiny", "--evals", "cleen"), "unknown evaluator 'cleen'; did you mean 'clean'?"),
    (("table", "tiny"), "no records here"),
    (("tune", "tiny", "--trials", "2"), "add --set data.validation=0.1"),
    (("check", "missing.yaml"), "there is no such file"),
    (("new", "Not A Name"), "cannot name a method"),
    (("new", "mixup"), "there is a method 'mixup' already"),
    (("nonsense",), "invalid choice"),
]


FOUND_BY_A_WORKER = [
    (("run", "tiny", "--set", "backbone=resnet1888"), "timm has no model 'resnet1888'; did you mean 'resnet18"),
    (("run", "tiny", "--set", "protocol.optimizer=adamwx"), "did you mean 'adamw'?"),
    (("run", "tiny", "--device", "cuda:99"), "--device cuda:99"),
    (("speed", "quickstart", "--device", "cuda:99"), "--device cuda:99"),
]


def name(value: object) -> str:
    return "-".join(value)[:50] if isinstance(value, tuple) else ""


@pytest.mark.parametrize(("arguments", "message"), AT_ONCE, ids=name)
def test_one_line_and_exit_code_2(mixbench, arguments, message):
    done = mixbench(*arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (mixbench.folder / "results").exists()


@pytest.mark.parametrize(("arguments", "message"), FOUND_BY_A_WORKER, ids=name)
def test_what_only_a_worker_can_see_ends_the_sweep_at_once(mixbench, arguments, message):
    done = mixbench(*arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (mixbench.folder / "results").exists()


def test_a_file_that_does_not_parse_is_named_with_its_line(mixbench):
    mixbench.write("protocol/tiny.yaml", "epochs: 2\nbatch_size: [10\n")
    done = mixbench("run", "tiny")
    assert done.returncode == 2
    assert "protocol/tiny.yaml:3: is not valid YAML" in done.stderr
