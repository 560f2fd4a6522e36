"""Runs that a folder of records announces stand in its tables as planned and missing until there are records."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.config.overrides import parse_set_options
from bench.config.suite import load_suite
from bench.report.announced import PLANNED_FILE, announced, announcement
from tests.golden.tables.example_records import make_spec, write_run
from tools.publish_planned import write_planned

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
METHODS = ("erm", "mixup", "cutmix")


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three methods with two seeds each are planned; one run of mixup is there."""
    specs = [make_spec(method, seed=seed) for method in METHODS for seed in (0, 1)]
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / PLANNED_FILE).write_bytes(announcement(spec.model_dump(mode="json") for spec in specs))
    return tmp_path / "study"


def counts(folder: Path, table: str = "leaderboard") -> dict[str, tuple[str, str, str]]:
    with (folder / "tables" / f"{table}.csv").open() as file:
        return {row["method"]: (row["n_ok"], row["n_planned"], row["statuses"]) for row in csv.DictReader(file)}


def test_without_any_record_all_runs_are_missing(folder, capsys):
    assert main(["table", str(folder)]) == 0
    assert counts(folder) == dict.fromkeys(METHODS, ("0", "2", "2 missing"))
    assert "2 planned without a record" in capsys.readouterr().out
    assert main(["table", str(folder), "--check"]) == 0
    assert main(["report", str(folder), "-o", str(folder / "page"), "--no-gallery"]) == 0
    page = (folder / "page" / "index.html").read_text()
    assert all(method in page for method in METHODS)


def test_a_record_takes_its_place_and_changes_no_other(folder):
    write_run(folder / "records", make_spec("mixup", seed=1), 0.9)
    assert main(["table", str(folder)]) == 0
    assert counts(folder) == {
        "erm": ("0", "2", "2 missing"), "mixup": ("1", "2", "1 ok, 1 missing"), "cutmix": ("0", "2", "2 missing")
    }  # fmt: skip


def test_runs_that_were_not_announced_are_shown_too(folder):
    write_run(folder / "records", make_spec("manifold_mixup", seed=7), 0.9)
    assert main(["table", str(folder)]) == 0
    assert counts(folder)["manifold_mixup"] == ("1", "1", "1 ok")
    assert set(counts(folder)) == {*METHODS, "manifold_mixup"}


def test_compare_names_what_is_missing(folder, capsys):
    write_run(folder / "records", make_spec("erm"), 0.8)
    assert main(["compare", "mixup", "--against", "erm", str(folder)]) == 0
    assert "cutmix, mixup: seeds 0, 1 missing" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text.replace(b'"seed":1', b'"seed":2', 1), "has damaged lines"),
        (lambda text: text[:-9], "has damaged lines"),
        (lambda text: b"", "holds no records"),
    ],
)
def test_a_damaged_announcement_is_refused_in_one_line(folder, spoil, said, capsys):
    path = folder / PLANNED_FILE
    path.write_bytes(spoil(path.read_bytes()))
    if not path.read_bytes():
        path.unlink()
    assert main(["table", str(folder)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "change", [{"seed": 9}, {"data": {}}, {"backbone": None}], ids=["another id", "no data", "no backbone"]
)
def test_a_line_that_is_no_planned_run_is_refused(folder, change, capsys):
    from bench.records.line import encode

    spec = make_spec("erm")
    line = encode("planned", {"run_id": spec.run_id, "spec": spec.model_dump(mode="json") | change})
    (folder / PLANNED_FILE).write_bytes(line)
    assert main(["table", str(folder)]) == 2
    assert f"{PLANNED_FILE}: line 1 " in capsys.readouterr().err


def test_the_tool_writes_what_the_suite_plans(tmp_path):
    from bench.sweep.todo import with_digests

    assert write_planned("quickstart", tmp_path, []) == len(announced(tmp_path))
    expected = [spec for spec, _ in with_digests(load_suite("quickstart", parse_set_options([])))]
    assert [spec.run_id for spec in announced(tmp_path)] == [spec.run_id for spec in expected]


def test_the_planned_resnet_study_is_its_suites(tmp_path):
    """All but the digest of the images, which are not here."""
    plain = {"digest": None, "root": None}
    suite = load_suite("photographs-resnet18", parse_set_options(["data.root=DIR"]))
    planned, told = (
        [one.model_copy(update={"data": one.data.model_copy(update=plain)}) for one in specs]
        for specs in ([one.spec for one in suite.planned], announced(REFERENCE / "photographs-resnet18" / "records"))
    )
    assert told == planned
    assert len(told) == 21


def test_the_bands_are_those_of_the_protocols_page_and_the_figures_those_of_the_tables():
    text = (REFERENCE / "photographs-resnet18" / "README.md").read_text()
    rows = re.findall(r"^\| (\w[\w-]*) \| (.+) \| (.+) \|$", text, re.MULTILINE)[1:]
    protocol = " ".join((REFERENCE.parents[1] / "docs" / "protocol.md").read_text().split())
    names = {"erm": "plain", "mixup": "Mixup", "cutmix": "CutMix (0.2)", "manifold_mixup": "Manifold Mixup"}
    with (REFERENCE / "photographs-resnet18" / "tables" / "leaderboard.csv").open() as file:
        measured = {row["method"]: row["top1"] or "not measured" for row in csv.DictReader(file)}
    assert {method: here for method, _, here in rows} == measured
    for method, published, _ in rows:
        band = published.split()[0]
        assert (band == "none") != (method in names)
        assert band == "none" or f"{names[method]} {band}" in protocol


def test_an_announcement_has_no_folder_names(folder):
    for path in [folder / PLANNED_FILE, *REFERENCE.glob(f"*/{PLANNED_FILE}")]:
        for line in path.read_text().splitlines():
            assert "/" not in (json.loads(line)["spec"]["data"]["root"] or "")
