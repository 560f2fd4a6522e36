from __future__ import annotations

import numpy as np
import pytest

from bench.records import Store
from bench.report import build_tables
from bench.report.figures import write_figures
from bench.report.figures.curves import looks
from bench.report.figures.heatmap import corruption_heatmap
from bench.report.figures.places import Box, shared_areas
from bench.report.figures.reliability import reliability_figure
from bench.report.figures.severities import severity_figure
from bench.report.figures.strengths import strength_figure
from bench.report.figures.style import figure_style, save
from tests.golden.tables.example_records import make_spec, write_run
from tests.golden.tables.robust_records import EXTRA, STANDARD, adversarial_lines, write_arm, write_robust_study

CONDITIONS = [*STANDARD, *EXTRA]
FEW = {"erm": [0.80, 0.82], "mixup": [0.81, 0.84], "cutmix": [0.84, 0.85]}
MANY = {"erm": [0.8], **{f"alignmix-with-a-long-variant-name-v{place}": [0.8] for place in range(18)}, "y" * 60: [0.7]}


def study(root, methods, **spec):
    plan = write_robust_study(root, methods, **spec)
    plan.append(make_spec("missing", 0, **spec))
    return build_tables(Store(root).runs(), (), plan)


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    return study(tmp_path_factory.mktemp("few"), FEW)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return study(tmp_path_factory.mktemp("many"), MANY, data="a long name " * 8)


def block(tables, name):
    [(title, rows)] = tables.detail(name).blocks()
    return title, rows


def draw(tables):
    """All new figures by name."""
    title, corruptions = block(tables, "robustness-corruptions")
    methods = tables.accuracy.rows
    return {
        "heatmap": corruption_heatmap(corruptions, "corruption", CONDITIONS, title, "erm"),
        "severities": severity_figure(methods, block(tables, "robustness-severities")[1], title),
        "strengths": strength_figure(block(tables, "robustness-adversarial")[1], title),
        "reliability": reliability_figure(block(tables, "robustness-reliability")[1], title),
    }


def boxes(figure, texts):
    renderer = figure.canvas.get_renderer()
    return [Box(*text.get_window_extent(renderer).extents) for text in texts if text.get_text()]


@pytest.mark.parametrize("count", ["few", "many"])
def test_nothing_is_clipped_and_no_text_covers_another(count, request):
    tables = request.getfixturevalue(count)
    with figure_style():
        for name, figure in draw(tables).items():
            figure.draw_without_rendering()
            drawn = figure.get_tightbbox(figure.canvas.get_renderer())
            width, height = figure.get_size_inches()
            assert min(drawn.x0, drawn.y0) >= 0, name
            assert (drawn.x1 <= width, drawn.y1 <= height) == (True, True), name
            titles = [*figure.texts, *(axes.title for axes in figure.axes)]
            if figure._suptitle is not None and figure._suptitle not in titles:
                titles.append(figure._suptitle)
            legends = [text for legend in figure.legends for text in legend.get_texts()]
            for texts in (titles, legends, *(axes.texts for axes in figure.axes)):
                found = boxes(figure, texts)
                overlaps = shared_areas(found, found) if found else np.zeros((1, 1))
                assert overlaps.sum() == pytest.approx(np.trace(overlaps)), name
            panels = [Box(*axes.get_window_extent().extents) for axes in figure.axes]
            for legend in figure.legends:
                area = Box(*legend.get_window_extent(figure.canvas.get_renderer()).extents)
                assert shared_areas([area], panels).sum() == 0, name


def test_the_heat_map_holds_the_tables_numbers(few):
    title, rows = block(few, "robustness-corruptions")
    with figure_style():
        figure = corruption_heatmap(rows, "corruption", CONDITIONS, title, "erm")
    axes = figure.axes[0]
    cells = {
        tuple(map(round, text.get_position())): text.get_text()
        for text in axes.texts
        if text.get_text()[0] in "+-0123456789"
    }
    shown = [row for row in rows if row["corruption_fog"] is not None]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["erm", "mixup", "cutmix"]
    assert len(cells) == len(shown) * 19
    for place, row in enumerate(shown):
        for column, name in enumerate(CONDITIONS):
            value = row[f"corruption_{name}"] if place == 0 else row[f"corruption_{name}_difference"]
            assert float(cells[column, place]) == pytest.approx(value, abs=0.051)
            assert cells[column, place].startswith(("+", "-")) == (place > 0)


def test_without_the_reference_the_heat_map_shows_accuracies(tmp_path):
    write_robust_study(tmp_path, {"mixup": [0.8]})
    title, rows = block(build_tables(Store(tmp_path).runs()), "robustness-corruptions")
    with figure_style():
        figure = corruption_heatmap(rows, "corruption", CONDITIONS, title, "erm")
    assert figure.axes[0].texts[0].get_text() == f"{rows[0]['corruption_gaussian_noise']:.1f}"
    assert figure.axes[1].get_ylabel() == "accuracy, %"


def test_severity_curves_are_means_over_the_family(few):
    title, rows = block(few, "robustness-severities")
    with figure_style():
        figure = severity_figure(few.accuracy.rows, rows, title)
    assert [axes.get_title() for axes in figure.axes] == ["noise", "blur", "weather", "digital", "extra, in no mean"]
    noise = [row for row in rows if row["method"] == "mixup" and row["corruption"].endswith("_noise")]
    noise = [row for row in noise if row["corruption"] != "speckle_noise"]
    expected = [np.mean([row[f"severity_{severity}"] for row in noise]) for severity in range(1, 6)]
    assert list(figure.axes[0].lines[1].get_ydata()) == pytest.approx(expected)
    extra = [row for row in rows if row["method"] == "mixup" and row["counted"] == "no"]
    assert figure.axes[4].lines[1].get_ydata()[2] == pytest.approx(np.mean([row["severity_3"] for row in extra]))


def test_strength_curves_begin_at_the_clean_accuracy_and_noise_is_dashed(few):
    title, rows = block(few, "robustness-adversarial")
    with figure_style():
        figure = strength_figure(rows, title)
    left, right = figure.axes
    assert [label.get_text() for label in left.get_xticklabels()] == ["0", "0.5", "1", "2", "4", "8"]
    assert [label.get_text() for label in right.get_xticklabels()] == ["0", "0.1", "0.25", "0.5"]
    solid = [line for line in left.lines if line.get_marker() == "o"]
    sizes = ("0", "0.5", "1", "2", "4", "8")
    assert list(solid[0].get_ydata()) == pytest.approx([rows[0][f"apgd_linf_{size}"] for size in sizes])
    noise = [line for line in left.lines if line.get_marker() in ("", "None")]
    assert len(noise) == 3
    assert all(line.is_dashed() for line in noise)
    assert list(noise[0].get_ydata()) == pytest.approx([rows[0][f"random_noise_linf_{size}"] for size in sizes[1:]])


def test_curves_of_two_evaluators_are_not_joined(tmp_path):
    folder = write_run(tmp_path, make_spec("erm", 0), 0.8)
    write_arm(folder, "adversarial", adversarial_lines(0.8))
    write_arm(folder, "adversarial-small", [line for line in adversarial_lines(0.3) if line[2].get("eps") != 8.0])
    title, rows = block(build_tables(Store(tmp_path).runs()), "robustness-adversarial")
    with figure_style():
        figure = strength_figure(rows, title)
    solid = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [list(line.get_ydata())[:3] for line in solid] == [pytest.approx([80, 67.5, 55])]


def test_reliability_lines_and_shares(few):
    title, rows = block(few, "robustness-reliability")
    with figure_style():
        figure = reliability_figure(rows, title)
    assert [axes.get_title() for axes in figure.axes] == ["erm", "mixup", "cutmix"]
    axes = figure.axes[1]
    own = [row for row in rows if row["method"] == "mixup"]
    known = [row for row in own if row["accuracy"] is not None]
    raw, scaled = (line for line in axes.lines if line.get_marker() in ("o", "s"))
    assert list(raw.get_xdata()) == pytest.approx([row["confidence"] for row in known])
    assert list(raw.get_ydata()) == pytest.approx([row["accuracy"] for row in known])
    assert list(scaled.get_ydata()) == pytest.approx([row["accuracy_scaled"] for row in known])
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([row["share"] for row in own])


def test_no_two_methods_look_alike():
    rows = [{"is_base": int(place == 0), "arm": str(place)} for place in range(61)]
    assert len(set(looks(rows).values())) == 61


def test_the_same_bytes_twice(few, tmp_path):
    title, rows = block(few, "robustness-corruptions")
    with figure_style():
        for folder in ("one", "two"):
            save(corruption_heatmap(rows, "corruption", CONDITIONS[:4], title, "erm"), tmp_path / folder, "heat")
            save(reliability_figure(block(few, "robustness-reliability")[1], title), tmp_path / folder, "reliability")
    files = sorted((tmp_path / "one").iterdir())
    assert len(files) == 4
    for path in files:
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_only_what_was_measured_is_drawn(tmp_path):
    folder = write_run(tmp_path / "records", make_spec("erm", 0), 0.8)
    write_arm(folder, "adversarial", adversarial_lines(0.8))
    paths = write_figures(build_tables(Store(tmp_path / "records").runs()), tmp_path / "figures")
    assert [path.name for path in paths if path.suffix == ".svg"] == ["accuracy.svg", "attacks.svg", "attack-sizes.svg"]
