from __future__ import annotations

from pathlib import Path

import pytest

from bench.records import Store
from bench.report import build_tables
from bench.report.study import arrange
from tests.golden.tables.example_records import make_spec, write_run


def names(root: Path, plan=None) -> list[tuple[str, str, int, int]]:
    rows = build_tables(Store(root).runs(), (), plan).accuracy.rows
    return [(str(row["protocol"]), str(row["method"]), int(row["n_ok"]), int(row["n_planned"])) for row in rows]


def test_a_plan_shows_exactly_its_runs_in_its_order(tmp_path):
    for method, top1 in (("mixup", 0.9), ("erm", 0.8), ("unplanned", 0.99)):
        write_run(tmp_path, make_spec(method, 0), top1)
    plan = [make_spec(method, seed) for seed in (0, 1) for method in ("mixup", "missing", "erm")]
    assert names(tmp_path, plan) == [
        ("digits-100ep", "mixup", 1, 2),
        ("digits-100ep", "missing", 0, 2),
        ("digits-100ep", "erm", 1, 2),
    ]


def test_without_a_plan_the_begin_lines_tell_how_many_seeds_are_missing(tmp_path):
    write_run(tmp_path, make_spec("erm", 3), 0.8, planned=(3, 4, 5))
    write_run(tmp_path, make_spec("mixup", 0), 0.9)
    write_run(tmp_path, make_spec("cutmix", 0), None, status="oom", planned=(0, 1))
    assert names(tmp_path) == [
        ("digits-100ep", "mixup", 1, 1),
        ("digits-100ep", "erm", 1, 3),
        ("digits-100ep", "cutmix", 0, 2),
    ]


def test_nothing_at_all_gives_empty_tables(tmp_path):
    tables = build_tables(Store(tmp_path).runs())
    assert all(table.rows == [] for table in tables.all)
    assert tables.accuracy.csv().count("\n") == 1
    assert tables.statements == []


def test_what_differs_in_data_backbone_or_protocol_is_never_put_into_one_cell(tmp_path):
    write_run(tmp_path, make_spec("erm", 0), 0.8)
    write_run(tmp_path, make_spec("erm", 0, data="other"), 0.8)
    write_run(tmp_path, make_spec("erm", 0, backbone="vit"), 0.8)
    write_run(tmp_path, make_spec("mixup", 1, epochs=1), 0.8)
    study = arrange(Store(tmp_path).runs())
    assert [cell.data for cell in study.cells] == ["digits-5", "digits-5", "digits-5", "other"]
    same_name = sorted(
        cell.protocol for cell in study.cells if cell.backbone == "test_resnet" and cell.data == "digits-5"
    )
    assert len(set(same_name)) == 2
    assert all(name.startswith("digits-100ep (") for name in same_name)


def test_a_label_is_no_identity(tmp_path):
    """An edited config keeps its label and is another arm; a renamed one keeps its arm."""
    write_run(tmp_path, make_spec("cutmix", 0, parameters={"alpha": 1.0}), 0.8)
    write_run(tmp_path, make_spec("cutmix", 0, parameters={"alpha": 0.2}), 0.9)
    rows = build_tables(Store(tmp_path).runs()).accuracy.rows
    assert [row["n_ok"] for row in rows] == [1, 1]
    assert {str(row["method"])[:8] for row in rows} == {"cutmix ("}
    assert len({row["method"] for row in rows}) == 2
    write_run(tmp_path, make_spec("new name", 1, implementation="cutmix", parameters={"alpha": 0.2}), 0.9)
    assert sorted(row["n_ok"] for row in build_tables(Store(tmp_path).runs()).accuracy.rows) == [1, 2]


@pytest.mark.parametrize(
    ("methods", "reference", "base"),
    [
        ([("erm", "erm"), ("mixup", "mixup")], "erm", "erm"),
        ([("plain", "erm"), ("mixup", "mixup")], "erm", "plain"),
        ([("erm", "erm"), ("mixup", "mixup")], "mixup", "mixup"),
        ([("cutmix", "cutmix")], "erm", None),
        ([("erm", "mixup"), ("plain", "erm")], "erm", "erm"),
    ],
)
def test_the_reference_is_found_by_label_then_by_implementation(methods, reference, base):
    plan = [make_spec(label, 0, implementation=implementation) for label, implementation in methods]
    [cell] = arrange([], plan, reference).cells
    assert (cell.base.labels.method if cell.base else None) == base


def test_a_record_whose_spec_is_no_spec_is_left_out_and_said(tmp_path):
    folder = write_run(tmp_path, make_spec("erm", 0), 0.8)
    path = folder / "train.jsonl"
    record = Store(tmp_path).runs()[0]
    record.spec["seed"] = "three"
    study = arrange([record])
    assert study.cells == []
    assert study.notes == ["1 run left out: the spec in the record does not belong to its run id."]
    assert path.is_file()
