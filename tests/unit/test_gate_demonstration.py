"""The demonstration of the gate: its faults are what they say, its plan and its baseline are sound."""

from __future__ import annotations

import importlib.util
import shutil

import numpy as np
import pytest
import torch

from bench.config.overrides import parse_set_options
from bench.config.suite import load_suite
from bench.gate.baseline import read_baseline
from bench.gate.candidates import arm_spec
from bench.sweep.todo import with_digests
from methods.api import Batch, BatchShape, Task
from methods.ops.keys import Key
from tools import gate_demonstration as tool
from tools import gate_demonstration_tables as tables


def planted(name: str, folder):
    """The method class of a faulty tree's file, and that of the current one."""
    fault = tool.FAULTS[name]
    shutil.copytree(tool.ROOT / "methods", folder / "methods", ignore=shutil.ignore_patterns("__pycache__"))
    tool.plant(fault, folder)
    found = []
    for path in (folder / "methods" / f"{fault.method}.py", tool.ROOT / "methods" / f"{fault.method}.py"):
        spec = importlib.util.spec_from_file_location(f"planted_{fault.method}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found.append(getattr(module, {"mixup": "Mixup", "cutmix": "CutMix"}[fault.method]))
    changed = [
        path.name
        for path in sorted((folder / "methods").rglob("*.py"))
        if path.read_bytes() != (tool.ROOT / path.relative_to(folder)).read_bytes()
    ]
    assert changed == [f"{fault.method}.py"]
    return found


def step(method, number: int):
    """A step's loss with a network that hands pixels on: total, draws, what the network saw, and the labels."""
    criterion = torch.nn.CrossEntropyLoss(reduction="none")
    method.setup(None, Task(4, criterion, (1, 8, 8)))
    draws = method.draw(Key(0, number), BatchShape(5, 1, 8, 8))
    images = torch.from_numpy(Key(1, number).generator().standard_normal((5, 1, 8, 8)).astype(np.float32))
    labels = torch.tensor([0, 1, 2, 3, 1])
    seen = []

    def network(views):
        seen.append(views)
        return views[:, 0, :4, :].sum(dim=2)

    total = method.loss(network, Batch((images,), labels), draws).total
    return float(total), draws, seen[0], images, labels


def mixed(logits, labels, permutation, weight: float) -> float:
    """The mean loss by a loop over the images."""
    terms = []
    for image, row in enumerate(logits.double().tolist()):
        normaliser = np.log(np.sum(np.exp(row)))
        own, partner = labels[image], labels[permutation[image]]
        terms.append(weight * (normaliser - row[own]) + (1 - weight) * (normaliser - row[partner]))
    return float(np.mean(terms))


@pytest.mark.parametrize("name", tool.FAULTS)
def test_a_fault_changes_the_label_weight_and_nothing_else(name, tmp_path):
    faulty, healthy = planted(name, tmp_path)
    worse = 0
    for number in range(12):
        total, draws, seen, images, labels = step(faulty(), number)
        permutation = draws["permutation"].tolist()
        right, _, unchanged, _, _ = step(healthy(), number)
        assert torch.equal(seen, unchanged)
        if tool.FAULTS[name].method == "cutmix":
            lam = float((seen == images).float().mean(dim=(1, 2, 3)).min())  # an image may be its own partner
            drawn = float(Key(0, number).fold("lam").generator().beta(1.0, 1.0))
        else:
            lam = drawn = float(draws["lam"])
        logits = seen[:, 0, :4, :].sum(dim=2)
        assert right == pytest.approx(mixed(logits, labels.tolist(), permutation, lam), rel=1e-4)
        weight = drawn if name == "unclipped cutmix" else 1 - lam
        assert total == pytest.approx(mixed(logits, labels.tolist(), permutation, weight), rel=1e-4)
        worse += abs(total - right) > 1e-3
    assert worse >= 6


def test_a_fault_that_does_not_fit_the_file_is_refused(tmp_path):
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "mixup.py").write_text("batch.labels, permutation, lam) batch.labels, permutation, lam)")
    with pytest.raises(ValueError, match=r"mixup.py: .* is there 2 times, not once"):
        tool.plant(tool.FAULTS["swapped mixup"], tmp_path)
    (tmp_path / "methods" / "mixup.py").write_text("")
    with pytest.raises(ValueError, match="0 times"):
        tool.plant(tool.FAULTS["swapped mixup"], tmp_path)


def test_ten_trees_of_each_kind_with_seeds_of_their_own():
    planned = tool.studies()
    by_kind = {"unchanged": [], "swapped": [], "unclipped": []}
    for study in planned:
        by_kind[study.name.split()[0]].append(study)
        assert len(study.seeds) == 5
        assert min(study.seeds) >= tool.BASE_SEEDS
    for kind in by_kind.values():
        assert len(kind) == 10
        assert len({seed for study in kind for seed in study.seeds}) == 50
    assert {study.name for study in by_kind["swapped"]} == set(tool.SWAPPED)


def test_the_committed_baseline_is_the_examples():
    stored = read_baseline(tables.BASELINE)
    assert [suite.name for suite in stored.suites] == [tool.SUITE]
    suite = load_suite(str(tool.ROOT / tool.SUITE), parse_set_options([]))
    now = {spec.arm: (spec.labels.method, arm_spec(spec)) for spec, _ in with_digests(suite)}
    assert {entry.arm: (entry.labels.method, entry.spec) for entry in stored.accuracy} == now
    assert all(len(entry.runs) == tool.BASE_SEEDS for entry in stored.accuracy)
