"""Write the planned.jsonl of a folder: every run that a suite plans, so that tables show those without a record.

    python tools/publish_planned.py SUITE results/reference/NAME [--set data.root=DIR]

The data have to be there, as their digest belongs to a run's id. Paths keep their last part only.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.config.overrides import parse_set_options
from bench.config.suite import load_suite
from bench.errors import BadInput
from bench.report.announced import PLANNED_FILE, announcement
from bench.sweep.todo import with_digests
from tools.publish_records import without_paths


def write_planned(suite: str, folder: Path, assignments: list[str]) -> int:
    """Write the file; returns how many runs are planned. BadInput for a suite or data that there are not."""
    specs = [spec for spec, _ in with_digests(load_suite(suite, parse_set_options(assignments)))]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PLANNED_FILE).write_bytes(announcement(without_paths(spec.model_dump(mode="json")) for spec in specs))
    return len(specs)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Write a folder's planned runs.")
    parser.add_argument("suite", help="a suite by name or path")
    parser.add_argument("folder", type=Path, help="the folder that holds, or will hold, `records`")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as for mixbench run")
    options = parser.parse_args()
    try:
        count = write_planned(options.suite, options.folder, options.set)
    except BadInput as error:
        raise SystemExit(f"publish_planned: {error}") from None
    print(f"{options.folder / PLANNED_FILE}: {count} runs")


if __name__ == "__main__":
    main()
