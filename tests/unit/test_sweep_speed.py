"""Which timing sessions a suite starts: how many processes, which are there already, which points of the scaling."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.cli.cost_file import write_cost
from bench.cli.tables import suite_tables
from bench.config.overrides import parse_set_options
from bench.config.suite import SpeedSettings, load_suite
from bench.env import package_versions
from bench.errors import BadInput
from bench.records import RecordWriter, Store
from bench.report import build_tables
from bench.sweep import speed
from bench.sweep.options import Options
from bench.sweep.speed import planned_cells, time_cells
from bench.sweep.speed_scaling import points, time_scaling
from tests.golden.tables.example_records import write_session
from tests.unit.tuning_cases import write_configs

SETTINGS = SpeedSettings(rounds=6, steps=2, warmup=1, processes=3)


@pytest.fixture
def suite(tmp_path):
    folder = write_configs(tmp_path / "configs")
    (folder / "method" / "alignmix.yaml").write_text("implementation: alignmix\n")
    text = (folder / "suite" / "s.yaml").read_text().replace("cutmix", "alignmix").replace("mixup-strong, ", "")
    (folder / "suite" / "s.yaml").write_text(text)
    return load_suite(str(folder / "suite" / "s.yaml"), parse_set_options([]))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "records")


@pytest.fixture
def tasks(monkeypatch):
    """What was handed to worker processes, a list for each executor; every session ends ok and leaves a record."""
    pools: list[list[dict]] = []

    class RecordingExecutor:
        def __init__(self, environments, *_):
            assert len(environments) == 1
            pools.append([])

        def run(self, given):
            for task in given:
                pools[-1].append(task)
                begin = {
                    "cell": task["name"], "settings": {k: task["settings"][k] for k in ("rounds", "steps", "warmup")},
                    "source_digests": task["source_digests"],
                    "provenance": {"device": "cpu", "threads": task["threads"], "packages": package_versions()},
                }  # fmt: skip
                if scaling := task["settings"].get("scaling"):
                    begin["scaling"] = scaling
                with RecordWriter(Path(task["file"])) as writer:
                    writer.append("begin", **begin)
                    writer.append("end", status="ok")
                yield SimpleNamespace(kind="done", task=task, fields={"status": "ok", "seconds": 1.0})

    monkeypatch.setattr(speed, "LocalExecutor", RecordingExecutor)
    return pools


def test_every_process_is_a_fresh_one_with_a_session_of_its_own(suite, store, tasks):
    assert time_cells(suite, store, SETTINGS, Options("cpu"))
    assert [len(pool) for pool in tasks] == [1, 1, 1]
    found = [pool[0] for pool in tasks]
    assert len({task["file"] for task in found}) == 3
    assert len({task["settings"]["series"] for task in found}) == 1
    assert {task["settings"]["reference"] for task in found} == {task_arm(found[0], "erm")}
    assert [spec["labels"]["method"] for spec in found[0]["specs"]] == ["erm", "mixup", "alignmix"]
    assert {spec["seed"] for spec in found[0]["specs"]} == {0}
    assert set(found[0]["settings"]) == {"rounds", "steps", "warmup", "reference", "series"}


def test_the_time_left_leaves_out_the_set_up(suite, store, monkeypatch, capsys):
    """90 s of imports, warm-up and splits, then 21 s a round: after the first of 6 rounds 105 s are left."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    class SlowStart:
        def __init__(self, *_):
            pass

        def run(self, given):
            (task,) = given
            for number in [0, 0, 0, *range(1, 8)]:
                now[0] += 21 if number > 1 else 30 if number else 20
                yield SimpleNamespace(kind="progress", task=task, fields={"round": number, "rounds": 7})
            yield SimpleNamespace(kind="done", task=task, fields={"status": "ok", "seconds": 216.0})

    monkeypatch.setattr(speed, "LocalExecutor", SlowStart)
    assert time_cells(suite, store, SETTINGS.model_copy(update={"processes": 1}), Options("cpu"))
    lines = [line.split(": ")[-1] for line in capsys.readouterr().err.splitlines()]
    assert lines[0] == "17 % done, about 1 min 45 s left"
    assert lines[1:5] == [
        "33 % done, about 1 min 24 s left", "50 % done, about 1 min 03 s left", "67 % done, about 42 s left",
        "83 % done, about 21 s left",
    ]  # fmt: skip
    assert lines[-1] == "ok, 3 min 36 s"


def task_arm(task, label):
    return next(arm for arm, spec in zip(task["source_digests"], task["specs"], strict=True)
                if spec["labels"]["method"] == label)  # fmt: skip


def test_only_missing_processes_are_started(suite, store, tasks):
    one = SETTINGS.model_copy(update={"processes": 1})
    time_cells(suite, store, one, Options("cpu"))
    time_cells(suite, store, one, Options("cpu"))
    assert len(tasks) == 1
    time_cells(suite, store, SETTINGS, Options("cpu"))
    assert len(tasks) == 3
    time_cells(suite, store, SETTINGS, Options("cpu"), anew=True)
    assert len(tasks) == 6
    time_cells(suite, store, SETTINGS.model_copy(update={"steps": 9}), Options("cpu"))
    assert len(tasks) == 9


def test_a_scaling_session_does_not_count_as_one_of_the_suite(suite, store, tasks):
    time_scaling(suite, store, SETTINGS, Options("cpu"))
    before = len(tasks)
    time_cells(suite, store, SETTINGS, Options("cpu"))
    assert len(tasks) == before + 3


def test_the_points_of_the_scaling(suite, store):
    ((_, items),) = planned_cells(suite, store).items()
    found = list(points(items, "erm"))
    assert [(axis, value) for axis, value, _ in found] == [
        ("batch_size", 2), ("batch_size", 10), ("batch_size", 40),
        ("resolution", 16), ("resolution", 32), ("resolution", 64),
        ("stage", -1), ("stage", -2), ("stage", -3),
    ]  # fmt: skip
    for axis, value, specs in found:
        names = [spec.labels.method for spec in specs]
        assert names == (["erm", "alignmix"] if axis == "stage" else ["erm", "mixup", "alignmix"])
        assert {spec.protocol.batch_size for spec in specs} == {value if axis == "batch_size" else 10}
        assert {spec.data.resolution for spec in specs} == {value if axis == "resolution" else 32}
        if axis == "stage":
            assert specs[1].method.parameters["stage"] == value
        assert len({spec.cell for spec in specs}) == 1
        assert {spec.data.train_per_class for spec in specs} == {150}


def test_a_batch_stays_a_multiple_of_its_parts(suite, store):
    ((_, items),) = planned_cells(suite, store).items()
    for item in items:
        protocol = item.spec.protocol.model_copy(update={"batch_size": 12, "accumulation": 4})
        item.spec = item.spec.model_copy(update={"protocol": protocol})
    found = [value for axis, value, _ in points(items, "erm") if axis == "batch_size"]
    assert found == [8, 12, 48]


def test_scaling_sessions_say_what_they_are_of(suite, store, tasks, capsys):
    assert time_scaling(suite, store, SETTINGS, Options("cpu"))
    (cell,) = planned_cells(suite, store)
    assert [pool[0]["settings"]["scaling"] for pool in tasks][2:4] == [
        {"of": cell, "axis": "batch_size", "value": 40}, {"of": cell, "axis": "resolution", "value": 16},
    ]  # fmt: skip
    assert "step times, stage -3 (9 of 9): ok" in capsys.readouterr().err
    for (task,) in tasks:
        assert task["settings"]["reference"] == task_arm(task, "erm")
        assert len(task["source_digests"]) == len(task["specs"])


def test_the_tables_of_a_suite_have_its_scaling(suite, store):
    ((cell, items),) = planned_cells(suite, store).items()
    _, _, specs = next(points(items, "erm"))
    times = [(spec, [1.0 + place] * 6) for place, spec in enumerate(specs)]
    write_session(store.root, times, scaling={"of": cell, "axis": "batch_size", "value": 2})
    assert specs[0].cell != cell
    table = suite_tables(suite, store).detail("throughput-scaling")
    assert table is not None
    assert [row["ratio"] for row in table.rows] == [1.0, 2.0, 3.0]
    assert {row["value"] for row in table.rows} == {2}


def test_without_the_reference_there_is_no_scaling(suite, store, tasks):
    suite.file.__dict__["base"] = "resizemix"
    with pytest.raises(BadInput, match="--scaling: s has no 'resizemix'"):
        time_scaling(suite, store, SETTINGS, Options("cpu"))


def test_a_cost_table_takes_the_newest_build_of_torch(suite, store, tmp_path):
    specs = [items.spec for items in next(iter(planned_cells(suite, store).values()))]
    for place, (torch, ratio) in enumerate([("2.6.0", 2.0), ("2.7.0", 3.0)]):
        write_session(
            store.root, [(specs[0], [1.0] * 6), (specs[1], [ratio] * 6)], torch=torch,
            name=f"20260202T00000{place}.000000Z-00000002",
        )  # fmt: skip
    write_cost(build_tables([], store.sessions(), specs).throughput, suite, tmp_path / "cost.yaml")
    text = (tmp_path / "cost.yaml").read_text()
    assert "mixup: 3.0" in text
    assert 'torch: "2.7.0"' in text
    assert text.count("ratios:") == 1
