"""Reading the records of very many runs in several processes.

`python -m bench.records.gather FOLDER` reads names of runs from stdin and prints lines of an index.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.records.errors import StorageError
from bench.records.index import index_lines, take_in
from bench.records.runs import PREDICTIONS_FILE, TRAIN_FILE
from bench.records.summaries import Summaries

MOST_PROCESSES = 8


def gather(summaries: Summaries, root: str, names: Sequence[str]) -> None:
    """Keep the summaries of all files of these runs. What cannot be gathered so is read when it is asked for."""
    count = min(MOST_PROCESSES, _cores())
    with ExitStack() as stack:
        children: list[tuple[subprocess.Popen[bytes], Path]] = []
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mixbench-")))
        for place in range(count):
            asked, answer = folder / f"asked-{place}", folder / f"answer-{place}"
            asked.write_text("\n".join(names[place::count]))
            with asked.open("rb") as stdin, answer.open("wb") as stdout:
                command = [sys.executable, "-P", "-m", "bench.records.gather", root]
                child = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL)
            children.append((child, answer))
            stack.callback(_end, child)
        for child, answer in children:
            child.wait()
            with answer.open("rb") as lines:
                take_in(summaries, lines, root)


def read_runs(summaries: Summaries, root: str, names: Sequence[str]) -> None:
    """Read all record files of these runs."""
    for name in names:
        for attempt in _folders(f"{root}{os.sep}{name}"):
            with os.scandir(attempt) as entries:
                for entry in entries:
                    if entry.name == TRAIN_FILE:
                        summaries.training(entry.path)
                    elif entry.name == PREDICTIONS_FILE:
                        summaries.digest(entry.path)
                    elif entry.name.startswith("eval-") and entry.name.endswith(".jsonl"):
                        summaries.evaluation(entry.path)


def main(root: str) -> int:
    """Answer on stdout what stdin asks for."""
    summaries = Summaries()
    names = sys.stdin.read().split("\n")
    for name in names:
        try:
            read_runs(summaries, root, [name])
        except (OSError, StorageError):  # the command that asked meets it too, and says so
            continue
    for line in index_lines(summaries, root):
        sys.stdout.buffer.write(line)
    return 0


def _folders(folder: str) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.path for entry in entries if entry.is_dir()]


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.kill()
        child.wait()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
