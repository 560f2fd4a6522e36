"""What people and programs are told, hostile names included."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from bench.errors import BadInput
from bench.gate.outputs import append_step_summary, write_json, write_junit
from bench.gate.rows import Outcome, Row
from bench.gate.terminal import outcome_markdown, outcome_text

HOSTILE = "<b>|`\x00\x1b[31m]]>&\n\ud800"


def row(verdict, method="erm", **numbers):
    return Row("digits / net / protocol", method, "arm", "top1", verdict, f"because of {method}", **numbers)


def outcome(*verdicts, mean=None, kind="accuracy"):
    return Outcome(kind, "b.json", "margin 1", [row(verdict) for verdict in verdicts], mean)


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["pass", "pass"], 0),
        (["pass", "regression", "missing", "inconclusive", "not comparable"], 1),
        (["pass", "inconclusive"], 3),
        (["not comparable"], 3),
        (["pass", "missing"], 3),
        ([], 3),
    ],
)
def test_exit_codes(verdicts, code):
    assert outcome(*verdicts).exit_code == code


def test_a_drop_of_the_mean_alone_is_a_regression():
    assert outcome("pass", "pass", mean=row("regression")).exit_code == 1


def test_the_table_says_everything_in_lines():
    found = Outcome(
        "accuracy", "b.json", "margin 1",
        [row("regression", before=90.0, after=88.0, change=-2.0, low=-2.5, high=-1.5, n_before=10, n_after=3)],
    )  # fmt: skip
    text = outcome_text(found)
    for part in ("90.00 %", "88.00 %", "-2.00 [-2.50, -1.50]", "3 vs 10", "because of erm", "REGRESSION: 1 regression"):
        assert part in text
    timed = outcome_text(Outcome("speed", "b.json", "x", [row("pass", before=1.5, after=1.6, change=1.07)]))
    assert "x 1.070" in timed


def test_json_is_the_outcome(tmp_path):
    found = outcome("pass", "regression", mean=row("pass", change=0.1))
    write_json(found, tmp_path / "deep" / "o.json")
    plain = json.loads((tmp_path / "deep" / "o.json").read_text())
    assert [each["verdict"] for each in plain["rows"]] == ["pass", "regression"]
    assert (plain["exit_code"], plain["mean"]["change"]) == (1, 0.1)


def test_junit_counts_and_survives_hostile_names(tmp_path):
    rows = [row("pass"), row("regression", HOSTILE, change=-1.0), row("missing"), row("inconclusive")]
    write_junit(Outcome("accuracy", "b", HOSTILE, rows), tmp_path / "o.xml")
    (suite,) = ElementTree.parse(tmp_path / "o.xml").getroot()
    assert {name: suite.get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "4", "failures": "1", "errors": "2",
    }  # fmt: skip
    assert [len(case) for case in suite.findall("testcase")] == [0, 1, 1, 1]
    assert suite.find("testcase/failure").get("type") == "regression"


def test_the_step_summary_is_appended_and_escaped(tmp_path, monkeypatch):
    file = tmp_path / "summary.md"
    file.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    append_step_summary(Outcome("accuracy", "b", "limit", [row("pass", "<script>a|b`")]))
    text = file.read_text()
    assert text.startswith("before\n## Gate: accuracy: pass")
    assert "&lt;script>a\\|b'" in text
    (line,) = [
        line
        for line in outcome_markdown(Outcome("accuracy", "b", "l", [row("pass", "a|b\nc")])).splitlines()
        if "a\\|b" in line and line.startswith("|")
    ]
    assert line.replace("\\|", "").count("|") == 9
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    with pytest.raises(BadInput, match="GITHUB_STEP_SUMMARY is not set"):
        append_step_summary(outcome("pass"))
