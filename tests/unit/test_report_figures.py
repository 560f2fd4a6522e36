from __future__ import annotations

import itertools
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from bench.records import Store
from bench.report import build_tables
from bench.report.figures import CLEAN, CORRUPTED, Axis, write_figures
from bench.report.figures.dots import accuracy_figure
from bench.report.figures.places import Box, place_labels, shared_areas
from bench.report.figures.scatter import scatter_figure
from bench.report.figures.style import figure_style
from tests.golden.tables.awkward_study import awkward_plan, write_awkward_study
from tests.golden.tables.example_records import make_spec, write_run, write_study

TIME = Axis("ratio", "step time relative to erm", share=False)
LONG = "a-method-whose-name-is-longer-than-any-reasonable-name"


def study(root, count: int, seeds: int = 3, **spec):
    generator = np.random.default_rng(count)
    names = ["erm", *(f"method-{place}" for place in range(count - 2)), LONG][:count]
    values = {name: (0.85 + generator.normal(0, 0.01, seeds)).round(4).tolist() for name in names}
    steps = {name: 0.02 * (1 + 0.2 * (place % 3)) for place, name in enumerate(names)}
    plan = write_study(root, values, steps=steps, **spec)
    plan += [make_spec("missing", seed, **spec) for seed in range(seeds)]
    store = Store(root)
    return build_tables(store.runs(), store.sessions(), plan)


def test_shared_areas_against_a_slow_loop():
    generator = np.random.default_rng(1)
    corners = np.sort(generator.uniform(0, 10, (2, 12, 2, 2)), axis=2)
    some, others = ([Box(*group[0], *group[1]) for group in groups] for groups in corners)
    for (i, a), (j, b) in itertools.product(enumerate(some), enumerate(others)):
        width = max(0.0, min(a.right, b.right) - max(a.left, b.left))
        height = max(0.0, min(a.top, b.top) - max(a.bottom, b.bottom))
        assert shared_areas(some, others)[i, j] == pytest.approx(width * height)


@pytest.mark.parametrize("count", [1, 3, 12, 25])
@pytest.mark.parametrize("spread", [3.0, 60.0, 400.0])
def test_labels_cover_neither_points_nor_each_other(count, spread):
    generator = np.random.default_rng(count)
    points = [tuple(point) for point in (500 + generator.uniform(-spread, spread, (count, 2))).tolist()]
    sizes = [(float(width), 16.0) for width in generator.uniform(30, 230, count)]
    area = Box(0, 0, 1000, 1000)
    placed = place_labels(points, sizes, area, marker=5)
    dots = [Box(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    assert shared_areas(placed, dots).sum() == 0
    overlaps = shared_areas(placed, placed)
    assert overlaps.sum() == pytest.approx(np.trace(overlaps))
    for box, (width, height) in zip(placed, sizes, strict=True):
        assert (box.right - box.left, box.top - box.bottom) == pytest.approx((width, height))
        assert box.left >= 0 and box.bottom >= 0 and box.right <= 1000 and box.top <= 1000  # noqa: PT018


def test_a_lone_label_stands_beside_its_point():
    [box] = place_labels([(500, 500)], [(80, 16)], Box(0, 0, 1000, 1000), marker=5)
    assert box.left - 505 < 10
    assert (box.bottom + box.top) / 2 == 500


def test_without_room_labels_are_placed_all_the_same():
    placed = place_labels([(5, 5)] * 4, [(500, 40)] * 4, Box(0, 0, 10, 10), marker=5)
    assert len(placed) == 4


def texts_of(figure):
    """Texts of a drawn figure, tick labels left out, with their boxes in pixels."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    found = [*figure.texts]
    for axes in figure.axes:
        found += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts, *axes.get_yticklabels()]
    return [(text.get_text(), Box(*text.get_window_extent(renderer).extents)) for text in found if text.get_text()]


def check_nothing_is_clipped(figure):
    """All that is drawn lies within the picture."""
    figure.draw_without_rendering()
    drawn = figure.get_tightbbox(figure.canvas.get_renderer())
    width, height = figure.get_size_inches()
    assert drawn.x0 >= 0
    assert drawn.y0 >= 0
    assert drawn.x1 <= width
    assert drawn.y1 <= height


@pytest.mark.parametrize("count", [1, 3, 12])
def test_no_text_is_clipped_or_covered(tmp_path, count):
    tables = study(tmp_path, count, data="data " * 30 if count == 3 else "data", backbone="b" * 30 * count)
    [(title, rows)] = tables.accuracy.blocks()
    [(_, joined)] = tables.leaderboard.blocks()
    with figure_style():
        dots = accuracy_figure(rows, title, "erm")
        check_nothing_is_clipped(dots)
        assert any(text.startswith("missing (0 of 3 runs)") for text, _ in texts_of(dots))
        for across, up in ((CLEAN, CORRUPTED), (TIME, CLEAN)):
            figure = scatter_figure(joined, across, up, "Heading", title)
            check_nothing_is_clipped(figure)
            labels = [
                box for text, box in texts_of(figure) if text == "erm" or text.startswith(("method-", "a-method"))
            ]
            assert len(labels) == count
            overlaps = shared_areas(labels, labels)
            assert overlaps.sum() == pytest.approx(np.trace(overlaps))


def test_titles_tell_seeds_data_and_what_is_missing(tmp_path):
    tables = study(tmp_path, 3)
    [(title, rows)] = tables.accuracy.blocks()
    [(_, joined)] = tables.leaderboard.blocks()
    with figure_style():
        words = " ".join(text for text, _ in texts_of(accuracy_figure(rows, title, "erm")))
        assert "Accuracy, mean and 95 % interval, 3 seeds\ndigits-5 / test_resnet / digits-100ep" in words
        words = " ".join(text for text, _ in texts_of(scatter_figure(joined, CLEAN, CORRUPTED, "Heading", title)))
        assert "Heading, 3 seeds; 1 of 4 methods not measured\ndigits-5 / test_resnet / digits-100ep" in words


def test_points_and_bars_are_the_tables_numbers(tmp_path):
    tables = study(tmp_path, 3)
    [(title, rows)] = tables.accuracy.blocks()
    with figure_style():
        figure = accuracy_figure(rows, title, "erm")
    left = figure.axes[0]
    dots = sorted((line.get_ydata()[0], line.get_xdata()[0]) for line in left.lines if line.get_marker() == "o")
    assert dots == [(place, pytest.approx(row["top1"])) for place, row in enumerate(rows) if row["top1"] is not None]
    bars = [collection.get_segments()[0] for collection in left.collections]
    assert [bar[:, 0].tolist() for bar in bars] == [
        pytest.approx([row["top1_low"], row["top1_high"]]) for row in rows if row["top1"] is not None
    ]


def test_files_are_the_same_bytes_twice_and_can_be_opened(tmp_path):
    tables = study(tmp_path / "records", 3)
    first, second = write_figures(tables, tmp_path / "one"), write_figures(tables, tmp_path / "two")
    assert [path.name for path in first] == [
        f"{name}.{kind}"
        for name in ("accuracy", "robustness", "step-time", "corruptions", "severities")
        for kind in ("png", "svg")
    ]
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()
        if one.suffix == ".png":
            with Image.open(one) as image:
                assert min(image.size) > 300
        else:
            assert ElementTree.parse(one).getroot().tag.endswith("svg")


def test_awkward_records_and_several_cells(tmp_path):
    write_awkward_study(tmp_path)
    write_run(tmp_path, make_spec("erm", 0, data="other data"), 0.7)
    plan = [*awkward_plan(), make_spec("erm", 0, data="other data"), make_spec("erm", 0, data="nothing finished")]
    store = Store(tmp_path)
    paths = write_figures(build_tables(store.runs(), store.sessions(), plan), tmp_path / "figures")
    assert [path.name for path in paths if path.suffix == ".png"] == [
        "accuracy-digits-5-test_resnet-digits-100ep.png",
        "robustness-digits-5-test_resnet-digits-100ep.png",
        "step-time-digits-5-test_resnet-digits-100ep.png",
        "corruptions-digits-5-test_resnet-digits-100ep.png",
        "severities-digits-5-test_resnet-digits-100ep.png",
        "accuracy-other-data-test_resnet-digits-100ep.png",
    ]


def test_no_figures_of_nothing(tmp_path):
    assert write_figures(build_tables([]), tmp_path) == []


def test_drawing_leaves_matplotlibs_global_state_alone(tmp_path):
    study(tmp_path, 2)
    program = (
        "import sys, matplotlib; matplotlib.rcParams['font.size'] = 33\n"
        "state = lambda: {name: dict.__getitem__(matplotlib.rcParams, name) for name in matplotlib.rcParams}\n"
        "before = state()\n"
        "from pathlib import Path; from bench.records import Store; from bench.report import build_tables\n"
        "from bench.report.figures import write_figures\n"
        "assert write_figures(build_tables(Store(Path(sys.argv[1])).runs()), Path(sys.argv[1]) / 'figures')\n"
        "print(before == state(), 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
