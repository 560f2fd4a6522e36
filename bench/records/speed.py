"""Timing sessions: step times of several methods taken in turns in one process, so that they can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.records.reader import read_record


@dataclass(frozen=True)
class SpeedSession:
    """One `speed/<session>.jsonl`: its begin line, its raw samples and what was measured once per arm.

    begin: fields of the begin line (hardware, precision, torch, labels, provenance). samples: lines with arm, label,
    round, seconds. arms: by arm id the fields passes_per_step, peak_memory (bytes), images_per_step, label.
    status: that of the end line, "incomplete" without one.
    """

    name: str
    path: Path
    begin: dict[str, Any]
    samples: list[dict[str, Any]]
    arms: dict[str, dict[str, Any]]
    status: str


def read_session(path: Path) -> SpeedSession:
    """Read one session; intact lines are used, damaged ones left out."""
    begin: dict[str, Any] = {}
    samples: list[dict[str, Any]] = []
    arms: dict[str, dict[str, Any]] = {}
    status = "incomplete"
    for line in read_record(path).lines:
        if line["kind"] == "begin":
            begin = line
        elif line["kind"] == "sample":
            samples.append(line)
        elif line["kind"] == "arm":
            arms[str(line.get("arm"))] = line
        elif line["kind"] == "end":
            status = str(line.get("status") or "ok")
    return SpeedSession(path.stem, path, begin, samples, arms, status)
