from __future__ import annotations

import copy

import pytest

from bench.page.charts import cell_charts
from bench.page.heatmap import heat_maps
from tests.browser.example_page import HOSTILE, example_tables


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return example_tables(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def charts(tables):
    return {chart["id"]: chart for chart in cell_charts(0, tables, tables.study.cells[0].id)}


def rows_of(tables, name):
    table = tables.detail(name) or getattr(tables, name, None)
    return {row["arm"]: row for row in table.rows if row["cell"] == tables.study.cells[0].id}


def test_every_kind_of_chart_is_there(charts):
    assert list(charts) == ["accuracy-time", "clean-robust", "severity", "attack-size", "reliability"]
    assert all(choice["traces"] for chart in charts.values() for choice in chart["choices"])


def test_points_are_the_numbers_of_the_tables(tables, charts):
    leaderboard = rows_of(tables, "leaderboard")
    [choice] = charts["accuracy-time"]["choices"]
    assert len(choice["traces"]) == len(leaderboard)
    for trace in choice["traces"]:
        row = leaderboard[trace["key"].removeprefix("0-")]
        assert trace["y"] == [row["top1"]]
        assert trace["x"] == [1.0 if trace["base"] else row["ratio"]]
    robustness = rows_of(tables, "robustness")
    corrupted = next(choice for choice in charts["clean-robust"]["choices"] if choice["label"] == "corrupted, %")
    for trace in corrupted["traces"]:
        row = robustness[trace["key"].removeprefix("0-")]
        assert (trace["x"], trace["y"]) == ([row["top1"]], [row["corruption_mean"]])
        if row["corruption_mean_low"] is not None:
            assert trace["y_high"] == [row["corruption_mean_high"]]


def test_curves_are_the_numbers_of_the_tables(tables, charts):
    fog = next(choice for choice in charts["severity"]["choices"] if choice["label"] == "fog")
    severities = {row["arm"]: row for row in tables.detail("robustness-severities").rows if row["corruption"] == "fog"}
    for trace in fog["traces"]:
        row = severities[trace["key"].removeprefix("0-")]
        assert trace["x"] == [1, 2, 3, 4, 5]
        assert trace["y"] == [row[f"severity_{severity}"] for severity in range(1, 6)]
    attacks = rows_of(tables, "robustness-adversarial")
    apgd = next(choice for choice in charts["attack-size"]["choices"] if choice["label"] == "apgd, L-inf")
    for trace in apgd["traces"]:
        row = attacks[trace["key"].removeprefix("0-")]
        assert trace["x"] == [0, 0.5, 1, 2, 4, 8]
        assert trace["y"] == [row[f"apgd_linf_{size:g}"] for size in trace["x"]]


def test_reliability_leaves_empty_bins_out(tables, charts):
    before, after = charts["reliability"]["choices"]
    assert (before["identity"], after["identity"]) == (True, True)
    bins = [row for row in tables.detail("robustness-reliability").rows if row["cell"] == tables.study.cells[0].id]
    for choice, ending in ((before, ""), (after, "_scaled")):
        for trace in choice["traces"]:
            own = [row for row in bins if row["arm"] == trace["key"].removeprefix("0-")]
            assert trace["y"] == [row[f"accuracy{ending}"] for row in own if row[f"accuracy{ending}"] is not None]


def test_names_are_escaped_for_plotly(charts):
    texts = [
        text
        for chart in charts.values()
        for choice in chart["choices"]
        for trace in choice["traces"]
        for text in (trace["name"], *(part for hover in trace["hover"] for part in hover.split("<br>")))
    ]
    assert any("&lt;img" in text for text in texts)
    assert not [text for text in texts if "<" in text]
    assert HOSTILE not in texts


def test_the_heat_map_holds_differences_and_the_reference_accuracies(tables):
    [found] = heat_maps(0, tables, tables.study.cells[0].id)
    rows = rows_of(tables, "robustness-corruptions")
    assert (len(found.corruptions), found.extra) == (19, 4)
    gaps = []
    for line in found.lines:
        row = rows[line.key.removeprefix("0-")]
        for square in line.squares:
            value = row[square.column if line.base else f"{square.column}_difference"]
            assert float(square.text) == pytest.approx(value, abs=0.051)
            gaps += [] if line.base else [(abs(value), square.level, value > 0, square.side)]
    reach = max(1.0, *(gap for gap, *_ in gaps))
    assert found.reach == pytest.approx(reach)
    for gap, level, above, side in gaps:
        assert level == pytest.approx(gap / reach, abs=0.001)
        assert gap < 1e-9 or side == ("better" if above else "worse")


def test_what_counts_in_the_mean_is_what_the_table_says(tables):
    """Digits have a gaussian_blur that counts, photographs have one that does not."""
    changed = copy.deepcopy(tables)
    for row in changed.detail("robustness-severities").rows:
        if row["corruption"] == "gaussian_blur":
            row["counted"] = "yes"
    [found] = heat_maps(0, changed, tables.study.cells[0].id)
    assert found.extra == 3


def test_a_cell_without_measurements_has_no_charts(tables):
    assert cell_charts(0, tables, "no such cell") == []
    assert heat_maps(0, tables, "no such cell") == []
