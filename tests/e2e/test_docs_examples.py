"""The ten minutes of docs/adding-a-method.md, carried out: its commands and edits, with a shorter training."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
import torch

from methods.api import BatchShape
from methods.ops.keys import Key
from tests.unit.docs_pages import ROOT, commands, fences

PAGE = ROOT / "docs" / "adding-a-method.md"
SHORTER = ["--set", "protocol=tiny", "--set", "data.train_per_class=3", "--set", "evals=[clean]"]


@pytest.fixture
def checkout(mixbench):
    """A copy of the package in which the commands are called, as a reader would."""
    for name in ("bench", "methods"):
        shutil.copytree(ROOT / name, mixbench.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "configs", mixbench.folder / "configs", dirs_exist_ok=True)
    mixbench.environment["PYTHONPATH"] = str(mixbench.folder)
    return mixbench.folder


def test_a_method_in_ten_minutes(mixbench, checkout):
    new, check, run, report, *_ = [command.words for command in commands(PAGE) if command.whole]
    assert [new[0], check[0], run[0], report[0]] == ["new", "check", "run", "report"]
    _do(mixbench, *new)
    path = checkout / "methods" / "mymix.py"
    path.write_text(edited(path.read_text()))
    assert "all fine" in _do(mixbench, *check)
    printed = _do(mixbench, *run, *SHORTER, "--workers", "1", "--no-figures")
    assert re.search(r"^mymix +2/2 ", printed, re.MULTILINE)
    _do(mixbench, *report, *SHORTER, "--no-gallery")
    assert "mymix" in (checkout / "report" / "index.html").read_text()


def edited(text: str) -> str:
    """The file with the page's diffs applied."""
    diffs = [block.text for block in fences(PAGE.read_text()) if block.language == "diff"]
    assert sum(line.startswith("+") for diff in diffs for line in diff.splitlines()) == 3
    for diff in diffs:
        before = "".join(line[1:] + "\n" for line in diff.splitlines() if line[0] in " -")
        after = "".join(line[1:] + "\n" for line in diff.splitlines() if line[0] in " +")
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text


def test_the_edited_method_labels_what_it_shows(mixbench, checkout):
    """A black image mixed with a white one: the mean pixel is the label weight of the white one."""
    _do(mixbench, "new", "mymix")
    space: dict[str, type] = {"__name__": "mymix"}
    exec(compile(edited((checkout / "methods" / "mymix.py").read_text()), "mymix.py", "exec"), space)
    method = space["Mymix"]()
    images = torch.stack([torch.full((1, 7, 5), 255, dtype=torch.uint8), torch.zeros(1, 7, 5, dtype=torch.uint8)])
    seen = set()
    for number in range(40):
        draws = method.draw(Key(0, number), BatchShape(2, 1, 7, 5))
        (view,) = method.views(images, lambda pixels: pixels.float() / 255, draws)
        partner = draws["permutation"].tolist()
        lam = float(draws["lam"])
        expected = [lam * (1 - i) + (1 - lam) * (1 - partner[i]) for i in range(2)]
        np.testing.assert_allclose(view.mean(dim=(1, 2, 3)).numpy(), expected, atol=1e-6)
        seen.add(round(lam * 7))
    assert len(seen) > 4


def _do(mixbench, *words: str) -> str:
    done = mixbench(*words)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout
