"""The split of a step's time and the scaling of step times, from records made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bench.records import Store
from bench.report import build_tables
from bench.report.build import DETAIL_NAMES
from bench.report.slices import Slice, sliced
from bench.report.write import table_files
from tests.golden.tables.example_records import make_spec, write_session

ERM, MIXUP, ALIGNMIX = (make_spec(method, 0) for method in ("erm", "mixup", "alignmix"))
PHASES = ("data", "mixing", "forward", "backward", "optimiser", "other")


def tables_of(root, plan=(ERM, MIXUP, ALIGNMIX)):
    return build_tables([], Store(root).sessions(), list(plan))


def test_the_split_against_numpy(tmp_path):
    seconds = np.random.default_rng(3).lognormal(-5, 0.4, (7, 6))
    split = {name: seconds[:, place].tolist() for place, name in enumerate(PHASES)}
    write_session(tmp_path, [(ERM, [1.0]), (MIXUP, [2.0])], split=split)
    table = tables_of(tmp_path).detail("throughput-split")
    assert table is not None
    assert [row["method"] for row in table.rows] == ["erm", "mixup"]
    row = table.rows[0]
    for place, name in enumerate(PHASES):
        assert row[f"{name}_ms"] == pytest.approx(1000 * np.median(seconds[:, place]))
    whole = seconds.sum(axis=1)
    outside = np.sort(100 * (seconds[:, [0, 1, 5]].sum(axis=1) / whole))
    assert row["eager_step_ms"] == pytest.approx(1000 * np.median(whole))
    assert (row["outside"], row["outside_low"], row["outside_high"]) == pytest.approx(
        (np.median(outside), outside[0], outside[-1])
    )
    assert row["split_rounds"] == 7


def test_a_split_with_a_phase_missing_is_not_shown(tmp_path):
    write_session(tmp_path, [(ERM, [1.0])], split={name: [1.0] for name in PHASES[1:]})
    assert tables_of(tmp_path).detail("throughput-split") is None


def scaled(method, batch):
    spec = make_spec(method, 0)
    return spec.model_copy(update={"protocol": spec.protocol.model_copy(update={"batch_size": batch})})


def write_scaling(root):
    write_session(root, [(ERM, [1.0] * 6), (MIXUP, [2.0] * 6)])
    for place, (axis, value, ratio) in enumerate(
        [("batch_size", 64, 1.5), ("batch_size", 8, 1.2), ("resolution", 64, 1.7), ("stage", -2, 1.9)]
    ):
        write_session(
            root, [(scaled("erm", 1000 + place), [0.5] * 6), (scaled("alignmix", 1000 + place), [0.5 * ratio] * 6)],
            name=f"20260303T00000{place}.000000Z-00000003", twin=[0.51, 0.49] * 3, positions=place + 10,
            scaling={"of": ERM.cell, "axis": axis, "value": value},
        )  # fmt: skip


def test_scaling_is_a_table_of_its_own_ordered_by_axis_and_value(tmp_path):
    write_scaling(tmp_path)
    tables = tables_of(tmp_path)
    table = tables.detail("throughput-scaling")
    assert table is not None
    found = [
        (row["axis"], row["value"], row["method"], row["ratio"], row["ratio_low"], row["positions"])
        for row in table.rows
    ]
    assert found == [
        ("batch_size", 8, "erm", 1.0, None, 11), ("batch_size", 8, "alignmix", 1.2, 1.2, 11),
        ("batch_size", 64, "erm", 1.0, None, 10), ("batch_size", 64, "alignmix", 1.5, 1.5, 10),
        ("resolution", 64, "erm", 1.0, None, 12), ("resolution", 64, "alignmix", 1.7, 1.7, 12),
        ("stage", -2, "erm", 1.0, None, 13), ("stage", -2, "alignmix", 1.9, 1.9, 13),
    ]  # fmt: skip
    assert {round(row["noise"], 9) for row in table.rows} == {2.0}
    assert {row["arm"] for row in table.rows} == {ERM.arm, ALIGNMIX.arm}


def test_a_method_without_a_row_at_a_value_is_named_with_its_reason(tmp_path):
    left = scaled("alignmix", 1000)
    write_session(
        tmp_path, [(scaled("erm", 1000), [0.5] * 6)], scaling={"of": ERM.cell, "axis": "stage", "value": -1},
        skipped=[(left, "the map is\n1x1"), (scaled("cutmix", 1000), "not of this study")],
    )  # fmt: skip
    table = tables_of(tmp_path).detail("throughput-scaling")
    assert table is not None
    assert [row["method"] for row in table.rows] == ["erm"]
    assert len(table.notes) == 2
    assert table.notes[1].endswith(", stage -1: alignmix was left out: the map is 1x1.")


def test_ratios_within_the_noise_of_their_session_are_marked(tmp_path):
    times = [(scaled("erm", 1000), [1.0] * 6), (scaled("mixup", 1000), [1.01] * 6)]
    times.append((scaled("alignmix", 1000), [1.03] * 6))
    write_session(tmp_path, times, twin=[1.02, 0.98] * 3, scaling={"of": ERM.cell, "axis": "batch_size", "value": 8})
    table = tables_of(tmp_path).detail("throughput-scaling")
    assert table is not None
    shown = [table.fields[-1].text(row) for row in table.rows]
    assert [text[-1] for text in shown] == ["e", "~", "]"]


def test_sessions_of_the_scaling_never_reach_the_main_table(tmp_path):
    write_session(tmp_path, [(ERM, [1.0] * 6), (MIXUP, [2.0] * 6)])
    write_session(
        tmp_path, [(ERM, [9.0]), (MIXUP, [9.0])], name="20260404T000000.000000Z-00000004",
        scaling={"of": ERM.cell, "axis": "batch_size", "value": 25},
    )  # fmt: skip
    assert [row["ratio"] for row in tables_of(tmp_path).throughput.rows] == [1.0, 2.0, None]


def test_of_another_cell_or_axis_nothing_is_shown(tmp_path):
    write_session(tmp_path, [(ERM, [1.0])], scaling={"of": "elsewhere", "axis": "batch_size", "value": 8})
    write_session(
        tmp_path, [(ERM, [1.0])], name="20260404T000000.000000Z-00000004",
        scaling={"of": ERM.cell, "axis": "colour", "value": 8},
    )  # fmt: skip
    assert tables_of(tmp_path).detail("throughput-scaling") is None


def test_the_files_and_the_page_have_both(tmp_path):
    write_scaling(tmp_path)
    write_session(
        tmp_path, [(ERM, [1.0] * 6), (MIXUP, [2.0] * 6)], name="20260404T000000.000000Z-00000004",
        split={name: [0.001] * 3 for name in PHASES},
    )  # fmt: skip
    files = table_files(tables_of(tmp_path))
    page = files["tables.md"].decode()
    for name, heading in (("split", "Where a step's time goes"), ("scaling", "Scaling of step times")):
        assert f"throughput-{name}" in DETAIL_NAMES
        assert files[f"throughput-{name}.csv"].count(b"\n") > 2
        assert f"## {heading}" in page


def test_a_slice_keeps_the_rows_of_its_methods(tmp_path):
    write_scaling(tmp_path)
    families = {"erm": "none", "mixup": "input", "alignmix": "feature"}
    part = sliced(tables_of(tmp_path), Slice(family=["input"]), families).detail("throughput-scaling")
    assert part is not None
    assert {row["method"] for row in part.rows} == {"erm"}
