from __future__ import annotations

import io
import math
import subprocess
import sys

import pytest
from pandas import DataFrame

from bench.records import StorageError, Store
from bench.report import build_tables, print_tables, write_tables
from bench.report.table import Column, Table, fixed, shortened
from tests.golden.tables.awkward_study import awkward_plan, write_awkward_study
from tests.golden.tables.example_records import make_spec, write_run, write_session, write_study

HOSTILE = 'a|b <script>alert("x")</script> `c` [click](javascript:x) and\na name that never ends ' + "x" * 200


def printed(tables, **options) -> str:
    stream = io.StringIO()
    print_tables(tables, stream, **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def awkward(tmp_path_factory):
    root = tmp_path_factory.mktemp("awkward")
    write_awkward_study(root)
    store = Store(root)
    return build_tables(store.runs(), store.sessions(), awkward_plan())


@pytest.mark.parametrize(
    ("value", "decimals", "signed", "expected"),
    [
        (85.126, 2, False, "85.13"),
        (-0.001, 2, False, "0.00"),
        (-0.001, 2, True, "+0.00"),
        (0.0, 1, True, "+0.0"),
        (-1.26, 1, True, "-1.3"),
        (1234.5, 0, False, "1234"),
    ],
)
def test_fixed(value, decimals, signed, expected):
    assert fixed(value, decimals, signed) == expected


def test_long_names_keep_their_beginning_and_end():
    assert shortened("x" * 30) == "x" * 30
    assert shortened("alignmix-with-a-very-long-variant-name-v2") == "alignmix-with-a-v...nt-name-v2"


def test_three_tables_are_printed_in_order_and_fit(awkward):
    text = printed(awkward)
    assert max(map(len, text.splitlines())) <= 120
    places = [
        text.index(f"{name}  digits-5 / test_resnet / digits-100ep")
        for name in ("ACCURACY", "ROBUSTNESS", "THROUGHPUT")
    ]
    assert places == sorted(places)
    assert text.isascii()
    assert "nan" not in text.lower().split()
    assert "What this can show: digits-5" in text
    assert "3 runs left out: written with record schema 0, these tables read 1." in text


def test_missing_and_failed_runs_are_visible(awkward):
    lines = printed(awkward).splitlines()
    puzzlemix = next(line for line in lines if line.startswith("puzzlemix"))
    assert "0/3" in puzzlemix
    assert "not measured" in puzzlemix
    cutmix = next(line for line in lines if line.startswith("cutmix"))
    assert "[2]" in cutmix
    assert any(line.strip().startswith("[2] diverged: loss not finite in epoch 2") for line in lines)


def test_columns_stand_under_their_headings(awkward):
    lines = printed(awkward).splitlines()
    heading = next(line for line in lines if line.startswith("method"))
    row = next(line for line in lines if line.startswith("erm"))
    assert row.index("3/3") + 3 == heading.index("ok/plan") + len("ok/plan")
    assert row.index("reference") + len("reference") == heading.index("minus erm [95 %]") + len("minus erm [95 %]")


def test_a_column_that_nobody_measured_is_said_once(tmp_path):
    write_run(tmp_path, make_spec("erm", 0), 0.8)
    text = printed(build_tables(Store(tmp_path).runs()))
    accuracy = text[: text.index("ROBUSTNESS")]
    assert "not measured: NLL, ECE % (floor)" in accuracy
    assert "NLL" not in accuracy.splitlines()[1]


def test_without_step_times_the_throughput_table_says_so(tmp_path):
    write_run(tmp_path, make_spec("erm", 0), 0.8)
    text = printed(build_tables(Store(tmp_path).runs()))
    throughput = text[text.index("THROUGHPUT") :]
    assert throughput.splitlines()[1:4] == ["method", "------", "erm"]
    assert "not measured: step ms, IQR, images/s, time / erm [95 %], rounds, passes/step, peak MiB" in throughput


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_asked_whatever_the_names(tmp_path, width):
    methods = {"erm": [0.8, 0.81], HOSTILE: [0.82, 0.84], "y" * 300: [0.7, 0.75]}
    plan = write_study(tmp_path, methods, steps={"erm": 1.0, HOSTILE: 2.0}, data="d" * 100)
    store = Store(tmp_path)
    text = printed(build_tables(store.runs(), store.sessions(), plan), width=width)
    assert max(map(len, text.splitlines())) <= width
    if width == 60:
        assert "no room for:" in text


def test_markdown_keeps_its_shape_whatever_the_names(tmp_path):
    plan = write_study(tmp_path, {"erm": [0.8, 0.81], HOSTILE: [0.82, 0.84]})
    store = Store(tmp_path)
    paths = write_tables(build_tables(store.runs(), store.sessions(), plan), tmp_path / "out")
    assert [path.name for path in paths] == [
        "accuracy.csv", "robustness.csv", "robustness-corruptions.csv", "robustness-severities.csv",
        "robustness-adversarial.csv", "throughput.csv", "leaderboard.csv", "tables.json", "tables.tex", "tables.md",
    ]  # fmt: skip
    text = paths[-1].read_text()
    assert "<script" not in text
    assert "](" not in text
    blocks: list[set[int]] = [set()]
    for line in text.splitlines():
        if line.startswith("|"):
            blocks[-1].add(line.replace("\\|", "").count("|"))
        elif blocks[-1]:
            blocks.append(set())
    assert [len(block) for block in blocks if block] == [1, 1, 1, 1, 1, 1]


def test_csv_reads_back_with_pandas(awkward, tmp_path):
    import pandas

    for path, table in zip(write_tables(awkward, tmp_path)[:-3], awkward.all, strict=True):
        read = pandas.read_csv(path)
        frame = table.frame()
        assert list(read.columns) == [column.name for column in table.columns] == list(frame.columns)
        assert list(read["method"]) == [row["method"] for row in table.rows]
        for column in table.columns:
            if column.decimals is not None:
                expected = [math.nan if row[column.name] is None else row[column.name] for row in table.rows]
                tolerance = 0.51 * 10**-column.decimals
                assert list(read[column.name]) == pytest.approx(expected, abs=tolerance, nan_ok=True)
                assert list(frame[column.name]) == pytest.approx(expected, nan_ok=True)


def test_every_column_is_documented(awkward, tmp_path):
    text = write_tables(awkward, tmp_path)[-1].read_text()
    for table in awkward.all:
        assert len({column.name for column in table.columns}) == len(table.columns)
        for column in table.columns:
            assert column.detail or f"- `{column.name}`: " in text, column.name


def test_a_hostile_name_stays_one_csv_cell(tmp_path):
    import pandas

    write_run(tmp_path, make_spec('evil",\n=1+1', 0), 0.8)
    paths = write_tables(build_tables(Store(tmp_path).runs()), tmp_path / "out")
    assert list(pandas.read_csv(paths[0])["method"]) == ['evil",\n=1+1']


def test_files_are_replaced_whole_and_a_bad_folder_is_one_clear_line(awkward, tmp_path):
    first = write_tables(awkward, tmp_path / "tables")
    again = write_tables(awkward, tmp_path / "tables")
    assert first == again
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == sorted(path.name for path in first)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"^cannot write .*accuracy\.csv: (Not a directory|File exists)$"):
        write_tables(awkward, tmp_path / "file")


def test_tables_need_neither_torch_nor_matplotlib_nor_scipy_stats(tmp_path):
    plan = write_study(tmp_path, {"erm": [0.8, 0.81], "mixup": [0.82, 0.84]}, steps={"erm": 1.0, "mixup": 2.0})
    assert len(plan) == 4
    program = (
        "import sys; from pathlib import Path; from bench.records import Store; from bench.report import *\n"
        "store = Store(Path(sys.argv[1])); tables = build_tables(store.runs(), store.sessions())\n"
        "print_tables(tables); write_tables(tables, Path(sys.argv[1]) / 'tables')\n"
        "print([name for name in ('torch', 'matplotlib', 'scipy.stats', 'timm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_session_alone_shows_in_the_throughput_of_planned_rows(tmp_path):
    specs = [make_spec("erm", 0), make_spec("mixup", 0)]
    write_session(tmp_path, [(specs[0], [0.01] * 6), (specs[1], [0.02] * 6)])
    text = printed(build_tables([], Store(tmp_path).sessions(), specs))
    assert "2.00 [2.00, 2.00]" in text
    assert "no run of erm ended ok" in text


@pytest.mark.parametrize("names", [("a", "b"), ("a",)])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_csv_is_what_pandas_writes(names, count):
    columns = [Column(name, "", decimals=2 if name == "b" else None) for name in names]
    values = ['comma, "quote"', None, "line\nbreak\r\ttab ; 'x' é"]
    rows = [{"a": values[place], "b": place / 3 if place else None} for place in range(count)]
    cells = {column.name: [column.text(row[column.name]) for row in rows] for column in columns}
    wanted = DataFrame(cells, dtype=object).to_csv(index=False, lineterminator="\n")
    assert Table("t", "T", columns, [], rows).csv() == wanted
