"""The newcomer's path: a new method from a template, checked, run, and seen in a table, touching nothing else."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

import bench


@pytest.fixture
def checkout(mixbench):
    """A copy of the package that stands first on the path."""
    root = Path(bench.__file__).parent.parent
    copy = mixbench.folder / "copy"
    for name in ("bench", "methods", "configs"):
        shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    mixbench.environment["PYTHONPATH"] = str(copy)
    return copy


def test_a_new_method_reaches_the_table(mixbench, checkout):
    made = mixbench("new", "my_mix")
    assert made.returncode == 0, made.stderr
    assert (checkout / "methods" / "my_mix.py").is_file()
    assert (checkout / "configs" / "method" / "my_mix.yaml").is_file()
    again = mixbench("new", "my_mix")
    assert (again.returncode, "already" in again.stderr) == (2, True)

    lines = [shlex.split(line) for line in made.stdout.splitlines() if line.startswith("  mixbench ")]
    assert [words[1] for words in lines] == ["check", "run"]
    checked = mixbench(*lines[0][1:])
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "my_mix" in mixbench("list", "methods").stdout

    shorter = ["--set", "protocol=tiny", "--set", "evals=[clean]", "--set", "seeds=1", "--workers", "1"]
    done = mixbench(*lines[1][1:], *shorter, "--no-figures")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^my_mix +1/1 ", done.stdout, re.MULTILINE)

    text = (checkout / "methods" / "my_mix.py").read_text()
    (checkout / "methods" / "my_mix.py").write_text(
        text.replace("logits = backbone(batch.views[0])", "logits = undefined")
    )
    broken = mixbench("check", str(checkout / "methods" / "my_mix.py"))
    assert broken.returncode == 1
    assert "NameError" in broken.stdout
    assert "Traceback" not in broken.stderr


def test_check_finds_what_is_broken(mixbench, checkout):
    (checkout / "configs" / "protocol" / "bad.yaml").write_text("epochs: 0\nbatch_size: 5\nlearning_rate: 0.1\n")
    (checkout / "methods" / "broken.py").write_text("from methods.api import Method\nclass A(Method):\n  x = (\n")
    found = mixbench("check", "--fast")
    assert found.returncode == 2
    assert "bad.yaml:1: 'protocol.epochs' must be greater than or equal to 1, not 0" in found.stdout
    assert "broken.py" in found.stdout
    assert "Traceback" not in found.stderr


def test_check_finds_altered_records(mixbench):
    assert mixbench("run", "tiny", "--no-figures", "--set", "seeds=1", "--set", "methods=[erm]").returncode == 0
    assert mixbench("check", "--fast").returncode == 0
    (record,) = mixbench.records.glob("*/*/train.jsonl")
    record.write_text(record.read_text().replace('"epoch":2', '"epoch":7'))
    found = mixbench("check", str(mixbench.folder / "results" / "local"))
    assert found.returncode == 1
    assert "damaged line" in found.stdout
