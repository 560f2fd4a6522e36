"""Checked-in records give the checked-in tables; the leaderboard's numbers recomputed from the lines themselves."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scipy import stats

from bench.cli.main import main
from bench.errors import BadInput
from bench.records import RecordWriter, Store, file_facts
from bench.report import build_tables, write_tables
from bench.report.build import DETAIL_NAMES
from bench.report.latex import escaped
from bench.report.leaderboard import run_share
from bench.report.slices import Slice, sliced
from tests.golden.tables.example_records import make_spec, write_run
from tests.golden.tables.robust_records import write_robust_study

TESTS = Path(__file__).parents[1]
FIXTURE = TESTS / "fixtures" / "records"
EXPECTED = TESTS / "golden" / "tables" / "expected" / "fixture"
"""Written anew with MIXBENCH_UPDATE_GOLDEN=1; read the difference before committing."""
REFERENCE = TESTS.parent / "results" / "reference"
FAMILIES = {"erm": "none", "mixup": "input", "cutmix": "input", "manifold_mixup": "feature"}


@pytest.fixture(scope="module")
def tables():
    store = Store(FIXTURE)
    return build_tables(store.runs(), store.sessions())


def board(path: Path = EXPECTED) -> dict[tuple[str, str], dict[str, str]]:
    with (path / "leaderboard.csv").open(newline="") as file:
        return {(row["data"], row["method"]): row for row in csv.DictReader(file)}


def test_the_fixture_gives_the_expected_bytes(capsys):
    if os.environ.get("MIXBENCH_UPDATE_GOLDEN"):
        shutil.rmtree(EXPECTED, ignore_errors=True)
        assert main(["table", str(FIXTURE), "-o", str(EXPECTED)]) == 0
    assert main(["table", str(FIXTURE), "-o", str(EXPECTED), "--check"]) == 0, capsys.readouterr().out


def test_the_same_bytes_with_another_hash_seed_locale_time_zone_and_folder(tmp_path):
    copied = tmp_path / "Größe, größer"
    shutil.copytree(FIXTURE, copied)
    settings = {"PYTHONHASHSEED": "4711", "LC_ALL": "de_DE.UTF-8", "LANG": "tr_TR.UTF-8", "TZ": "Pacific/Chatham"}
    program = [sys.executable, "-X", "utf8=0", "-m", "bench.cli", "table", str(copied), "-o", "out"]
    environment = {**os.environ, **settings, "PYTHONPATH": str(TESTS.parent)}
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {
        path.name: path.read_bytes() for path in EXPECTED.iterdir()
    }


def test_committed_reference_records_give_the_committed_tables(capsys):
    for tables in sorted(REFERENCE.glob("*/tables")):
        assert main(["table", str(tables.parent), "--check"]) == 0, capsys.readouterr().out


def lines(path: Path) -> list[dict]:
    return [json.loads(text) for text in path.read_text().splitlines()]


def test_leaderboard_numbers_are_those_of_the_lines():
    found: dict[str, dict[int, dict[str, float]]] = {}
    for path in FIXTURE.glob("*/20260102T000000.000000Z-0000000b/train.jsonl"):
        try:
            begin, *rest = lines(path)
        except json.JSONDecodeError:
            continue
        spec = begin["spec"]
        if rest[-1].get("status") == "ok" and begin["schema"] == 1 and spec["labels"]["data"] == "digits-5":
            epochs = [line["test"]["top1"] for line in rest if line["kind"] == "epoch"]
            attacked = lines(path.with_name("eval-adversarial-1.jsonl")) if spec["seed"] != 8 else []
            apgd = [line["value"] for line in attacked if line.get("detail", {}).get("eps") == 1.0]
            if apgd:
                one = {"last": epochs[-1], "best": max(epochs), "apgd": apgd[0]}
                found.setdefault(spec["labels"]["method"], {})[spec["seed"]] = one
    assert {method: sorted(runs) for method, runs in found.items()} == {
        "erm": [0, 1, 2], "mixup": [0, 1, 2], "cutmix": [0], "manifold_mixup": [0]
    }  # fmt: skip
    rows = board()
    for method, runs in found.items():
        row = rows["digits-5", method]
        for column, key in (("top1", "last"), ("best_epoch_selected_on_test", "best"), ("apgd", "apgd")):
            values = [run[key] for run in runs.values()]
            assert float(row[column]) == pytest.approx(100 * sum(values) / len(values), abs=0.0051)
        assert row["apgd_size"] == "linf 1"
    own = [run["last"] * 100 for run in found["mixup"].values()]
    low, high = stats.t.interval(0.95, 2, sum(own) / 3, stats.sem(own))
    assert [float(rows["digits-5", "mixup"][f"top1{end}"]) for end in ("_low", "_high")] == pytest.approx(
        [low, high], abs=0.0051
    )


def test_ranks_are_within_a_cell_and_of_complete_rows_only():
    rows = board()
    assert {key: row["rank"] for key, row in rows.items()} == {
        ("digits-5", "mixup"): "1", ("digits-5", "erm"): "2", ("digits-5", "cutmix"): "",
        ("digits-5", "manifold_mixup"): "", ("digits-20", "erm"): "", ("digits-20", "mixup"): "",
    }  # fmt: skip
    assert {key: f"{row['n_ok']}/{row['n_planned']}" for key, row in rows.items()} == {
        ("digits-5", "mixup"): "3/3", ("digits-5", "erm"): "3/3", ("digits-5", "cutmix"): "1/3",
        ("digits-5", "manifold_mixup"): "1/3", ("digits-20", "erm"): "1/3", ("digits-20", "mixup"): "1/3",
    }  # fmt: skip


def test_methods_that_seeds_cannot_tell_apart_share_their_rank(tmp_path):
    found = {"erm": (80, 81, 78), "mixup": (90, 89, 91), "cutmix": (82, 79, 81), "manifold_mixup": (89, 91, 88)}
    for method, values in found.items():
        for seed, top1 in enumerate(values):
            write_run(tmp_path, make_spec(method, seed=seed), top1 / 100)
    rows = build_tables(Store(tmp_path).runs()).leaderboard.rows
    assert {row["method"]: row["rank"] for row in rows} == {"mixup": 1, "manifold_mixup": 1, "cutmix": 3, "erm": 3}


def test_one_seed_each_ranks_nothing_and_says_so(tmp_path):
    for method, top1 in (("erm", 0.8), ("mixup", 0.9), ("cutmix", 0.7)):
        write_run(tmp_path, make_spec(method), top1)
    table = build_tables(Store(tmp_path).runs()).leaderboard
    assert {row["rank"] for row in table.rows} == {None}
    assert any("no ranks, as too few seeds ended ok to tell any two methods apart" in note for note in table.notes)


def test_share_kept_and_alignment_come_from_diagnostics():
    row = board()["digits-5", "manifold_mixup"]
    assert (row["share_kept"], row["alignment_effect_to_first"], row["alignment_effect_to_second"]) == (
        "50.00", "0", "0.04"
    )  # fmt: skip
    assert board()["digits-5", "erm"]["share_kept"] == ""


def test_share_kept_is_the_mean_loss_part_over_all_epochs(tmp_path):
    def share(*parts: dict[str, float], diagnostics: dict[str, float]) -> float | None:
        store = Store(tmp_path)
        folder = store.new_attempt("00")
        with RecordWriter(folder / "train.jsonl") as record:
            record.append("begin", run_id="00")
            for epoch, one in enumerate(parts):
                record.append("epoch", epoch=epoch, parts=one)
            for name, value in diagnostics.items():
                record.append("diagnostic", name=name, value=value)
        return run_share(store.attempts("00")[-1])

    both = share({"share_kept": 0.4, "other": 9.0}, {"share_kept": 0.7}, {}, diagnostics={"share_kept": 0.1})
    assert both == pytest.approx(0.55)
    assert share({}, diagnostics={"share_kept": 0.1}) == 0.1
    assert share({}, diagnostics={}) is None


def test_records_digest_tells_records_apart_and_not_places(tmp_path, tables):
    def digests(root: Path) -> dict[object, object]:
        store = Store(root)
        return {row["arm"]: row["records"] for row in build_tables(store.runs(), store.sessions()).leaderboard.rows}

    shutil.copytree(FIXTURE, tmp_path / "records")
    before = digests(tmp_path / "records")
    assert before == {row["arm"]: row["records"] for row in tables.leaderboard.rows}
    assert len(set(before.values())) == len(before)
    for row in tables.study.cells[1].rows:
        if row.labels.method == "mixup":
            run = row.ok[2]
            path = tmp_path / "records" / run.run_id / run.attempt / "eval-fgsm-1.jsonl"
            path.write_bytes(path.read_bytes() + b"\n")
            after = digests(tmp_path / "records")
            assert {arm for arm in before if before[arm] != after[arm]} == {row.arm}


def test_damaged_predictions_are_none_of_what_a_row_stands_on(tmp_path):
    def records(content: bytes | None) -> object:
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        [row] = build_tables(Store(tmp_path).runs()).leaderboard.rows
        return row["records"]

    folder = write_run(tmp_path, make_spec("erm"), 0.8, status=None)
    path = folder / "predictions.npz"
    with RecordWriter(folder / "train.jsonl") as record:
        record.append("file", name=path.name, **file_facts(b"whole"))
        record.append("end", status="ok", reason=None, seconds=2.0)
    assert records(b"whole") != records(None)
    assert records(b"whale") == records(None)


def test_records_digest_is_that_of_the_files_read_by_hand():
    [spec] = [make_spec("manifold_mixup", 0)]
    row = board()["digits-5", "manifold_mixup"]
    [folder] = [path.parent for path in FIXTURE.glob("*/*/train.jsonl") if b'"share_kept"' in path.read_bytes()]
    texts = [f"{folder.parent.name} {path.name} {digest(path)}" for path in folder.iterdir()]
    [old] = [
        path for path in FIXTURE.glob("*/*/train.jsonl") if b'"schema":0' in path.read_bytes() and path.parent != folder
    ]
    assert b"manifold_mixup" in old.read_bytes()
    texts.append(f"speed {digest(next((FIXTURE / 'speed').iterdir()))}")
    assert row["cell"] == spec.cell
    assert row["records"] == hashlib.blake2b("\n".join(sorted(texts)).encode(), digest_size=8).hexdigest()


def digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def test_json_has_the_numbers_of_the_csv(tables):
    document = json.loads((EXPECTED / "tables.json").read_text())
    assert document["schema"] == "mixbench-tables/1"
    assert [table["name"] for table in document["tables"]] == [table.name for table in tables.all]
    for table in document["tables"]:
        with (EXPECTED / f"{table['name']}.csv").open(newline="") as file:
            read = list(csv.DictReader(file))
        names = [column["name"] for column in table["columns"]]
        assert names == list(read[0])
        for row, texts in zip(table["rows"], read, strict=True):
            for name, value in row.items():
                if isinstance(value, float):
                    assert value == float(texts[name])
                else:
                    assert ("" if value is None else str(value)) == texts[name]


def test_check_finds_a_changed_a_missing_and_a_stale_file(tmp_path, capsys):
    shutil.copytree(EXPECTED, tmp_path / "t")
    board_file = tmp_path / "t" / "leaderboard.csv"
    board_file.write_bytes(board_file.read_bytes().replace(b"86.2", b"86.3", 1))
    (tmp_path / "t" / "tables.tex").unlink()
    (tmp_path / "t" / "robustness-ood.csv").write_text("old")
    assert main(["table", str(FIXTURE), "-o", str(tmp_path / "t"), "--check"]) == 1
    said = capsys.readouterr().out
    assert "leaderboard.csv:" in said
    assert "tables.tex: is missing" in said
    assert "robustness-ood.csv: no record has a number for it" in said
    assert main(["table", str(FIXTURE), "-o", str(tmp_path / "none"), "--check"]) == 2


def test_tables_that_are_no_longer_measured_are_removed_and_nothing_else(tables, tmp_path):
    others = ("mine.csv", "robustness-mine.csv", "notes.md")
    for name in (*others, "robustness-ood.csv", "robustness-features.csv"):
        (tmp_path / name).write_text("old")
    paths = write_tables(tables, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths} | set(others)


def test_every_table_of_the_details_is_known_by_name(tmp_path, tables):
    write_robust_study(tmp_path, {"erm": [0.80, 0.81], "mixup": [0.82, 0.83]})
    full = build_tables(Store(tmp_path).runs())
    assert {table.name for table in full.details} == {name for name in DETAIL_NAMES if name.startswith("robustness-")}
    assert {table.name for table in tables.details} < set(DETAIL_NAMES)


def test_a_slice_has_the_numbers_of_the_whole(tables):
    found = sliced(tables, Slice(data=["digits-5"], family=["input"]), FAMILIES)
    assert [row["method"] for row in found.leaderboard.rows] == [
        row["method"] for row in tables.leaderboard.rows
        if row["data"] == "digits-5" and row["method"] in ("erm", "mixup", "cutmix")
    ]  # fmt: skip
    for table, whole in zip(found.all, tables.all, strict=True):
        assert all(row in whole.rows for row in table.rows)
        assert not any("digits-20" in note for note in table.notes)
    assert [cell.data for cell in found.study.cells] == ["digits-5"]
    with pytest.raises(BadInput, match=r"^--family: no row has 'inputs'; did you mean 'input'\?$"):
        sliced(tables, Slice(family=["inputs"]), FAMILIES)


def test_slices_on_the_command_line_and_in_markdown(tmp_path, capsys):
    shutil.copytree(FIXTURE, tmp_path / "records")
    assert main(["table", str(tmp_path), "--data", "digits-20", "--family", "input", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    folder = tmp_path / "tables" / "data-digits-20_family-input"
    assert {row[0] for row in board(folder)} == {"digits-20"}
    assert {row["method"] for row in document["tables"][0]["rows"]} == {"erm", "mixup"}
    page = (EXPECTED / "slices.md").read_text()
    headings = [line for line in page.splitlines() if line.startswith("## ")]
    assert headings[:2] == ["## By data: digits-20", "## By data: digits-5"]
    assert "## By family: input" in headings
    assert not (folder / "slices.md").exists() or "By data" not in (folder / "slices.md").read_text()


def test_latex_escapes_what_has_a_meaning_there(tmp_path):
    hostile = "a_b%\\input{x}&$~^#\n|<"
    write_run(tmp_path, make_spec(hostile, implementation="mixup"), 0.8)
    write_run(tmp_path, make_spec("erm"), 0.7)
    text = next(
        path for path in write_tables(build_tables(Store(tmp_path).runs()), tmp_path / "out") if path.suffix == ".tex"
    )
    said = text.read_text()
    name = r"a\_b\%\textbackslash{}input\{x\}\&\$\textasciitilde{}\textasciicircum{}\# \textbar{}\textless{}"
    assert escaped(hostile) == name
    assert f"\n{name} & " in said
    for line in said.splitlines():
        if line.endswith("\\\\") and "&" in line:
            assert "\\input{" not in line
    for environment in ("table", "tabular"):
        assert said.count(f"\\begin{{{environment}}}") == said.count(f"\\end{{{environment}}}") > 0
    assert said.count("\\toprule") == said.count("\\midrule") == said.count("\\bottomrule")


def test_latex_rows_have_as_many_cells_as_the_columns_that_are_set():
    for block in (EXPECTED / "tables.tex").read_text().split("\\begin{tabular}{")[1:]:
        columns = len(block.split("}", 1)[0])
        rows = [line for line in block.split("\\end{tabular}")[0].splitlines() if line.endswith("\\\\")]
        assert len(rows) > 1
        assert {line.count(" & ") + 1 for line in rows} == {columns}


def test_the_leaderboards_columns_are_documented(tables):
    text = (REFERENCE.parent / "README.md").read_text()
    for column in tables.leaderboard.columns:
        assert column.detail or f"`{column.name}`" in text, column.name


def test_a_folder_with_the_name_of_a_suite_is_not_taken_for_records(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").mkdir()
    assert main(["table", "quickstart"]) == 2
    assert "no records here" in capsys.readouterr().err
    assert main(["table", "quickstart/"]) == 2
    assert "holds no records" in capsys.readouterr().err


def test_settings_do_not_change_a_folder_of_records(capsys):
    assert main(["table", str(REFERENCE / "equal-compute"), "--set", "seeds=1"]) == 2
    assert "a folder of records is none" in capsys.readouterr().err
