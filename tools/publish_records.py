"""Copy records for others to read: no weights, logs or checkpoints, and no folder names of this machine.

    python tools/publish_records.py results/local/records results/reference/NAME/records [SUITE]

Of several records of one evaluator the newest complete one is copied. Paths in specs and evaluators' settings keep
their last part only; they take no part in a run id. Every line is read with its checksum and written with a new one.

SUITE: a suite by name or path, whose title and note are written to the about.yaml beside the records where there is
none yet. Add to the note what the records do not tell of the data.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from bench.cli.suite_about import suite_about
from bench.config.overrides import parse_set_options
from bench.config.suite import load_suite
from bench.errors import BadInput
from bench.records import Store, read_record
from bench.records.line import encode
from bench.report.about import about_file

KEPT = ("train.jsonl", "predictions.npz")
PATHS = ("root", "files", "boxes")


def publish(source: Path, target: Path) -> int:
    """Copy all attempts and timing sessions below `source`; returns how many files there are now."""
    count = 0
    for record in (attempt for folder in sorted(source.iterdir()) for attempt in Store(source).attempts(folder.name)):
        evaluations = [record.evaluation_file(name) for name in record.evaluations]
        for file in [*(record.folder / name for name in KEPT), *evaluations]:
            if file is not None and file.is_file():
                count += _copy(file, target / file.relative_to(source))
    for file in sorted((source / "speed").glob("*.jsonl")):
        count += _copy(file, target / file.relative_to(source))
    return count


def write_about(target: Path, suite: str) -> Path | None:
    """Write the about.yaml of the records in `target` from a suite's title and note; its path, None for one that stays.

    BadInput for a suite that there is not.
    """
    path, head = about_file(target), suite_about(load_suite(suite, parse_set_options([])))
    if path.exists():
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{key}: {json.dumps(text, ensure_ascii=False)}\n" for key, text in vars(head).items() if text]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def without_paths(value: Any) -> Any:
    """Plain JSON values with every path setting cut down to its last part."""
    if isinstance(value, dict):
        return {
            key: Path(item).name if key in PATHS and isinstance(item, str) else without_paths(item)
            for key, item in value.items()
        }
    return [without_paths(item) for item in value] if isinstance(value, list) else value


def _copy(file: Path, target: Path) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix != ".jsonl":
        shutil.copyfile(file, target)
        return 1
    found = read_record(file)
    if found.torn or found.damaged:
        raise SystemExit(f"{file}: has damaged lines; nothing that is damaged is published")
    lines = [encode(line["kind"], _fields(line)) for line in found.lines]
    target.write_bytes(b"".join(lines))
    return 1


def _fields(line: dict[str, Any]) -> dict[str, Any]:
    if "nonfinite" in line:
        raise SystemExit("a line with numbers that are not finite: publish such a run by hand")
    return {key: without_paths(value) for key, value in line.items() if key != "kind"}


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    try:
        written = write_about(Path(sys.argv[2]), sys.argv[3]) if len(sys.argv) == 4 else None
    except BadInput as error:
        raise SystemExit(f"publish_records: {error}") from None
    print(f"{publish(Path(sys.argv[1]), Path(sys.argv[2]))} files{f', and {written}' if written else ''}")
