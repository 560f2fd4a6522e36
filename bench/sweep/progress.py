"""Progress for people: bars with the time left on a terminal, plain lines elsewhere. Always on stderr."""

from __future__ import annotations

import shutil
import sys
import time
from typing import Any

from tqdm import tqdm

from bench.clock import duration_text

PLAIN_LINE_SECONDS = 20.0
EARLIEST_ESTIMATE = 1.0
"""Per cent. Before that a time left would be noise: workers are still starting."""
RUNS_NAMED = 4
"""Runs under way that a plain line names."""
ROWS_KEPT = 4
"""Rows of a terminal that are left to other lines than those of runs."""


class Progress:
    """Counts work in units (epochs, evaluators, rounds; parts of them too) over many tasks.

    On a terminal the sum is a bar, and each task under way a bar below it, as far as there is room; elsewhere a line
    now and then tells both.
    """

    def __init__(self, title: str, total_units: float, total_tasks: int) -> None:
        self._title, self._total_units, self._total_tasks = title, total_units, total_tasks
        self._units: dict[str, float] = {}
        self._under_way: dict[str, tuple[str, float]] = {}
        self._rows: dict[str, Any] = {}
        self._last_line = time.monotonic()
        self._measured_from = (self._last_line, 0.0)
        self._finished = 0
        self._terminal = sys.stderr.isatty()
        self._bar: Any = (
            tqdm(
                total=total_units,
                desc=title,
                file=sys.stderr,
                bar_format="{desc}: {percentage:3.0f}% |{bar}| {postfix}, {elapsed} gone",
                dynamic_ncols=True,
            )
            if self._terminal and total_units
            else None
        )
        self._show()

    def start(self, task: str, title: str, units: float) -> None:
        """A task begins, which will take so many units."""
        self._under_way[task] = (title, units)
        self._show_row(task)

    def advance(self, task: str, units: float) -> None:
        """A task has done this many units in all."""
        self._units[task] = units
        self._show_row(task)
        self._show()

    def leave(self, task: str) -> None:
        """A task is not under way any more, and may come again."""
        self._under_way.pop(task, None)
        row = self._rows.pop(task, None)
        if row is not None:
            row.close()

    def finish(self, task: str, units: float, line: str | None) -> None:
        """A task is over; `line` is shown for good."""
        self.leave(task)
        self._units[task] = units
        self._finished += 1
        if line is not None:
            self.say(f"[{self._finished}/{self._total_tasks}] {line}")
        self._show()

    def measure_from_here(self) -> None:
        """The time left is told from what is done from now on: what went before, as set-up, does not come again."""
        self._measured_from = (time.monotonic(), sum(self._units.values()))

    def say(self, line: str) -> None:
        """A line that stays."""
        if self._bar is not None:
            tqdm.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """The bars go, the lines stay."""
        for task in list(self._rows):
            self.leave(task)
        if self._bar is not None:
            self._bar.close()

    def _show(self) -> None:
        done = sum(self._units.values())
        if self._bar is not None:
            self._bar.n = min(done, self._total_units)
            left = self._left(done)
            text = f"{self._finished}/{self._total_tasks} runs" + (f", about {left} left" if left else "")
            self._bar.set_postfix_str(text, refresh=True)
        elif time.monotonic() - self._last_line > PLAIN_LINE_SECONDS and done and self._finished < self._total_tasks:
            left = self._left(done)
            share = 100 * done / self._total_units
            known = f", about {left} left" if left else ""
            self.say(f"{self._title}: {share:.0f} % done{known}{self._named()}")
            self._last_line = time.monotonic()

    def _left(self, done: float) -> str:
        """The time left in words; "" where too little is done to tell."""
        started, before = self._measured_from
        if done <= before or 100 * done < EARLIEST_ESTIMATE * self._total_units:
            return ""
        seconds = (time.monotonic() - started) / (done - before) * (self._total_units - done)
        return duration_text(max(0.0, seconds))

    def _named(self) -> str:
        """The first tasks under way with the units they have done; "" where nobody said what is under way."""
        found = [
            f"{title} {self._units.get(task, 0):.3g}/{units:g}" for task, (title, units) in self._under_way.items()
        ]
        more = f" and {len(found) - RUNS_NAMED} more" if len(found) > RUNS_NAMED else ""
        return f"; at work: {', '.join(found[:RUNS_NAMED])}{more}" if found else ""

    def _show_row(self, task: str) -> None:
        """A task's own bar below the first one, where there is a free row on the screen."""
        if self._bar is None or task not in self._under_way:
            return
        if task not in self._rows:
            taken = {row.pos for row in self._rows.values()}
            places = range(1, max(1, shutil.get_terminal_size().lines - ROWS_KEPT))
            place = next((number for number in places if -number not in taken), None)
            if place is None:
                return
            title, units = self._under_way[task]
            self._rows[task] = tqdm(
                total=units, desc=f"  {title}", file=sys.stderr, position=place, leave=False, dynamic_ncols=True,
                bar_format="{desc}: {n:.3g}/{total:g} |{bar:20}|",
            )  # fmt: skip
        row = self._rows[task]
        row.n = min(self._units.get(task, 0), row.total)
        row.refresh()
