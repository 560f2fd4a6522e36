"""A refused command takes away the results folder that it made, and nothing else."""

from __future__ import annotations

import pytest

from bench.cli.refused import absent, take_away


@pytest.fixture
def made(tmp_path):
    """A results folder as a refused command leaves it, and which folders were not there before."""
    results = tmp_path / "results" / "local"
    absent_before = absent(results)
    for name in ("records", "leases", "logs"):
        (results / name).mkdir(parents=True)
    (results / "records" / "speed").mkdir()
    (results / "records" / "speed" / "log.txt").write_text("no such device")
    (results / ".lock").write_text("123")
    (results / "logs" / "worker-0.txt").write_text("no such device")
    return results, absent_before


def test_all_that_it_made_is_gone(tmp_path, made):
    take_away(made[1])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["records/0123/attempt/train.jsonl", "leases/0123/1", "tables/tiny/accuracy.csv"])
def test_a_folder_with_anything_recorded_stays_whole(made, name):
    results, absent_before = made
    (results / name).parent.mkdir(parents=True, exist_ok=True)
    (results / name).write_text("{}")
    before = sorted(results.rglob("*"))
    take_away(absent_before)
    assert sorted(results.rglob("*")) == before


def test_a_folder_that_was_there_stays(made):
    results, _ = made
    before = sorted(results.rglob("*"))
    take_away(absent(results))
    assert sorted(results.rglob("*")) == before


def test_folders_above_with_other_files_stay(tmp_path, made):
    (tmp_path / "results" / "notes.txt").write_text("mine")
    take_away(made[1])
    assert [path.name for path in tmp_path.rglob("*")] == ["results", "notes.txt"]
