"""What the commands that look at all runs cost on a folder of very many records.

    python tools/synthetic_records.py FOLDER --runs 100000
    python tools/folder_scale.py FOLDER

Each command runs alone, `--repeats` times; the first one once more before them, with no index of the records. Prints a
table in Markdown: lowest to highest of the repeats, processor time of all its processes, peak memory of the largest.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from bench.env import processor_name

COMMANDS = (
    ("status",),
    ("table",),
    ("report", "--no-gallery"),
    ("plan", "--images-per-second", "1000", "--devices", "64xH200"),
)


class Cost(NamedTuple):
    """Processor and wall seconds of a command with its children, and the largest process's peak memory in MiB."""

    processor: float
    wall: float
    memory: float


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what tools/synthetic_records.py wrote")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    results = options.folder / "results"
    print(f"{processor_name()}, {os.cpu_count()} core(s), load {os.getloadavg()[0]:.1f} before\n")
    print("| Command | CPU seconds | Wall seconds | Peak memory, MiB |")
    print("| --- | --- | --- | --- |")
    shutil.rmtree(results / "index", ignore_errors=True)
    print(row("`status`, no index yet", [cost(options.folder, COMMANDS[0])]), flush=True)
    for command in COMMANDS:
        print(
            row(f"`{' '.join(command)}`", [cost(options.folder, command) for _ in range(options.repeats)]), flush=True
        )
    return 0


def cost(folder: Path, command: tuple[str, ...]) -> Cost:
    """Run one command on the folder. Exit 3 says that runs are missing, as they are meant to be."""
    where = ["-o", str(folder / "report")] if command[0] == "report" else []
    suite = folder / "configs" / "suite" / "synthetic.yaml"
    given = [command[0], str(suite), *command[1:], *where, "--results", str(folder / "results")]
    started = time.monotonic()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "bench.cli", *given], stdout=subprocess.DEVNULL, stderr=errors
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 3):
            errors.seek(0)
            raise SystemExit(f"mixbench {command[0]}: exit {process.returncode}\n{errors.read().decode()}")
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024)


def row(name: str, costs: list[Cost]) -> str:
    """A line of the table."""
    processor, wall, memory = (tuple(values) for values in zip(*costs, strict=True))
    return f"| {name} | {span(processor, 1)} | {span(wall, 1)} | {span(memory, 0)} |"


def span(values: tuple[float, ...], digits: int) -> str:
    """Lowest to highest, or the one number."""
    low, high = f"{min(values):,.{digits}f}", f"{max(values):,.{digits}f}"
    return low if low == high else f"{low} to {high}"


if __name__ == "__main__":
    sys.exit(main())
