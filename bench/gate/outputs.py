"""An outcome for other programs: JSON, JUnit XML, and the step summary of GitHub Actions."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from xml.etree import ElementTree

from bench.errors import BadInput
from bench.gate.rows import Outcome, Row
from bench.gate.terminal import outcome_markdown, summary
from bench.records.errors import storage

SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_json(outcome: Outcome, path: Path) -> None:
    """All rows with full precision."""
    _write(path, json.dumps(outcome.plain(), indent=1, allow_nan=False) + "\n")


def write_junit(outcome: Outcome, path: Path) -> None:
    """A test case a row: a regression is a failure, everything else that is not a pass an error."""
    failures = sum(row.verdict == "regression" for row in outcome.all)
    errors = sum(row.verdict not in ("pass", "regression") for row in outcome.all)
    counts = {"tests": str(len(outcome.all)), "failures": str(failures), "errors": str(errors)}
    suites = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(suites, "testsuite", {"name": f"mixbench gate {outcome.kind}", **counts})
    for row in outcome.all:
        name = _clean(f"{row.method} {row.measure}".strip())
        case = ElementTree.SubElement(suite, "testcase", {"classname": _clean(row.cell), "name": name})
        if row.verdict != "pass":
            tag = "failure" if row.verdict == "regression" else "error"
            told = {"type": row.verdict, "message": _clean(row.reason)}
            ElementTree.SubElement(case, tag, told).text = _clean(_numbers(row))
    ElementTree.SubElement(suite, "system-out").text = _clean(f"{outcome.limit}\n{summary(outcome)}")
    _write(path, ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n")


def append_step_summary(outcome: Outcome) -> None:
    """Add the table to the summary page of the running GitHub Actions step. BadInput outside one."""
    given = os.environ.get(SUMMARY_VARIABLE)
    if not given:
        raise BadInput(f"--github: {SUMMARY_VARIABLE} is not set, so this is no step of GitHub Actions")
    with storage("cannot write", Path(given)), Path(given).open("a", encoding="utf-8") as file:
        file.write(outcome_markdown(outcome))


def _numbers(row: Row) -> str:
    facts = {"before": row.before, "now": row.after, "change": row.change, "low": row.low, "high": row.high, "p": row.p}
    known = [f"{name} {value:.6g}" for name, value in facts.items() if value is not None]
    return "; ".join([*known, f"n {row.n_after} against {row.n_before}"])


def _clean(text: str) -> str:
    """XML has no way to write most control characters."""
    return _NOT_XML.sub("?", text)


def _write(path: Path, text: str) -> None:
    with storage("cannot write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
