"""Equal compute as published: the cost table is that of the timing sessions, the epochs are those it pays for."""

from __future__ import annotations

import json
import shutil
import statistics
from collections import defaultdict
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.config.yaml_file import read_yaml
from bench.records import Store
from tests.unit.docs_pages import fences

ROOT = Path(__file__).resolve().parents[2]
COST = ROOT / "configs" / "cost" / "digits-xeon.yaml"
REFERENCE = ROOT / "results" / "reference" / "equal-compute"
TIMED = "methods=[erm,cutmix,regmixup,alignmix,augmix,puzzlemix,samix]"


def ratios() -> dict[str, float]:
    """Median over all rounds of all committed sessions of a method's step time over erm's in the same round."""
    found: dict[str, list[float]] = defaultdict(list)
    for path in (REFERENCE / "records" / "speed").glob("*.jsonl"):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        twins = {line["arm"] for line in lines if line["kind"] == "arm" and line.get("twin_of")}
        rounds: dict[int, dict[str, float]] = defaultdict(dict)
        for line in lines:
            if line["kind"] == "sample" and line["arm"] not in twins:
                rounds[line["round"]][line["label"]] = line["seconds"]
        for times in rounds.values():
            for method, seconds in times.items():
                found[method].append(seconds / times["erm"])
    return {method: statistics.median(values) for method, values in found.items()}


def test_the_committed_cost_table_is_written_again_byte_for_byte(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path / "cache"))
    shutil.copytree(REFERENCE / "records" / "speed", tmp_path / "results" / "records" / "speed")
    written = tmp_path / "cost.yaml"
    arguments = ["speed", "all-methods", "--set", TIMED, "--recorded", "--results", str(tmp_path / "results")]
    assert main([*arguments, "--write-cost", str(written)]) == 0
    capsys.readouterr()
    assert written.read_bytes() == COST.read_bytes()
    stored = read_yaml(COST).values["cells"][0]["ratios"]
    assert stored == pytest.approx(ratios(), abs=6e-5)


def test_epochs_are_what_the_reference_s_budget_pays_for():
    measured = ratios()
    seen: set[str] = set()
    for run in Store(REFERENCE / "records").runs():
        if run.labels["protocol"] != "digits-100ep-equal-compute":
            continue
        method = run.labels["method"]
        seen.add(method)
        assert len(run.epochs) == (100 if method == "erm" else round(100 / measured[method])), method
    assert seen == {"erm", "regmixup", "augmix", "puzzlemix"}


def test_the_page_shows_both_boards_as_the_records_give_them(tmp_path, capsys):
    shutil.copytree(REFERENCE / "records", tmp_path / "equal-compute" / "records")
    assert main(["table", str(tmp_path / "equal-compute")]) == 0
    printed = capsys.readouterr().out
    page = (ROOT / "docs" / "reading-the-tables.md").read_text(encoding="utf-8")
    shown = [fence.text for fence in fences(page) if "equal-compute" in fence.text]
    assert len(shown) == 1
    assert shown[0].count("ACCURACY") == 2
    for block in shown[0].strip().split("\n\n"):
        assert block in printed
