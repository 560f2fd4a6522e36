"""Progress for people: a bar with the time left on a terminal, plain lines elsewhere. Always on stderr."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

from bench.clock import duration_text

PLAIN_LINE_SECONDS = 20.0
EARLIEST_ESTIMATE = 1.0
"""Per cent. Before that a time left would be noise: workers are still starting."""


class Progress:
    """Counts work in units (epochs, evaluators, rounds; parts of them too) over many tasks."""

    def __init__(self, title: str, total_units: float, total_tasks: int) -> None:
        self._title, self._total_units, self._total_tasks = title, total_units, total_tasks
        self._units: dict[str, float] = {}
        self._started = self._last_line = time.monotonic()
        self._finished = 0
        self._terminal = sys.stderr.isatty()
        self._bar: Any = (
            tqdm(
                total=total_units,
                desc=title,
                file=sys.stderr,
                bar_format="{desc}: {percentage:3.0f}% |{bar}| {postfix}, {elapsed} gone, {remaining} left",
                dynamic_ncols=True,
            )
            if self._terminal and total_units
            else None
        )
        self._show()

    def advance(self, task: str, units: float) -> None:
        """A task has done this many units in all."""
        self._units[task] = units
        self._show()

    def finish(self, task: str, units: float, line: str | None) -> None:
        """A task is over; `line` is shown for good."""
        self._units[task] = units
        self._finished += 1
        if line is not None:
            self.say(f"[{self._finished}/{self._total_tasks}] {line}")
        self._show()

    def say(self, line: str) -> None:
        """A line that stays."""
        if self._bar is not None:
            tqdm.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)
            self._last_line = time.monotonic()

    def close(self) -> None:
        """The bar goes, the lines stay."""
        if self._bar is not None:
            self._bar.close()

    def _show(self) -> None:
        done = sum(self._units.values())
        if self._bar is not None:
            self._bar.n = min(done, self._total_units)
            self._bar.set_postfix_str(f"{self._finished}/{self._total_tasks} runs", refresh=True)
        elif time.monotonic() - self._last_line > PLAIN_LINE_SECONDS and done:
            gone = time.monotonic() - self._started
            left = gone / done * (self._total_units - done)
            share = 100 * done / self._total_units
            known = f", about {duration_text(max(0.0, left))} left" if share >= EARLIEST_ESTIMATE else ""
            self.say(f"{self._title}: {share:.0f} % done{known}")
