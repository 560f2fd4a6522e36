from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from bench.records import Store
from bench.report import build_tables, write_tables
from tests.golden.tables.awkward_study import awkward_plan, write_awkward_study
from tests.golden.tables.robust_records import write_robust_study

EXPECTED = Path(__file__).parents[1] / "golden" / "tables" / "expected"
"""Run this file with MIXBENCH_UPDATE_GOLDEN=1 to write the files anew, and read the difference before committing."""


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("awkward")
    write_awkward_study(root)
    return root


def written(root: Path, folder: Path, planned: bool) -> dict[str, bytes]:
    store = Store(root)
    tables = build_tables(store.runs(), store.sessions(), awkward_plan() if planned else None)
    return {path.name: path.read_bytes() for path in write_tables(tables, folder)}


@pytest.mark.parametrize("planned", [True, False], ids=["planned", "unplanned"])
def test_tables_are_the_expected_bytes(records, tmp_path, planned):
    check(written(records, tmp_path, planned), tmp_path, EXPECTED / ("planned" if planned else "unplanned"))


def test_robustness_tables_are_the_expected_bytes(tmp_path):
    root, folder = tmp_path / "records", tmp_path / "tables"
    write_robust_study(root, {"erm": [0.80, 0.81], "mixup": [0.82, 0.83]})
    paths = write_tables(build_tables(Store(root).runs()), folder)
    check({path.name: path.read_bytes() for path in paths}, folder, EXPECTED / "robust")


def check(found: dict[str, bytes], written_to: Path, folder: Path) -> None:
    if os.environ.get("MIXBENCH_UPDATE_GOLDEN"):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(written_to, folder)
    assert sorted(found) == sorted(path.name for path in folder.iterdir())
    for name, content in found.items():
        assert content.decode() == (folder / name).read_text(), name


def test_another_order_of_records_and_another_place_give_the_same_bytes(records, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(records, moved)
    store = Store(moved)
    runs, sessions = store.runs(), store.sessions()
    random.Random(1).shuffle(runs)
    random.Random(2).shuffle(sessions)
    for plan in (awkward_plan(), None):
        tables = build_tables(runs, sessions, plan)
        found = {path.name: path.read_bytes() for path in write_tables(tables, tmp_path / "out")}
        assert found == written(records, tmp_path / "first", plan is not None)


def test_reading_changes_nothing_on_the_disk(records, tmp_path):
    def state() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in records.rglob("*")}

    before = state()
    written(records, tmp_path, planned=True)
    assert state() == before


def test_the_expected_tables_hold_no_nan():
    for path in EXPECTED.rglob("*.*"):
        assert "nan" not in path.read_text().lower().split(), path
