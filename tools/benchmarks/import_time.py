"""What the commands cost that need no torch, against a Python that does nothing, in seconds of processor time."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tools.interleaved import Row, ratio_row, seconds_in_turns

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 9
COMMANDS = {
    "mixbench --help": ["--help"],
    "mixbench list methods": ["list", "methods"],
    "mixbench table (of committed records)": ["table", "results/reference/robustness-study", "--check"],
}


def rows(device: str) -> list[Row]:
    """Whole processes, started in turns; the device plays no part. Processor time, user and system, because whole
    processes on a shared machine wait for more than they work."""
    commands = {name: ["-P", "-m", "bench.cli", *words] for name, words in COMMANDS.items()}
    candidates = {"python": _process(["-c", "pass"])} | {name: _process(words) for name, words in commands.items()}
    seconds_in_turns(candidates, 1)  # the first start reads files from the disk and writes byte code
    found = seconds_in_turns(candidates, ROUNDS)
    return [ratio_row(name, "", "python -c pass", found[name], found["python"]) for name in COMMANDS]


def _process(words: list[str]) -> Callable[[], float]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, *words]
        subprocess.run(
            command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return run
