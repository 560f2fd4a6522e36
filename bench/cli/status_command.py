"""`mixbench status`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter

from bench.cli.suite_options import store_of, suite_of
from bench.clock import duration_text
from bench.config.suite import Suite
from bench.errors import EXIT_FINE, EXIT_INCOMPLETE
from bench.records import Store
from bench.records.collection import collection_paused
from bench.sweep.options import leases_folder
from bench.sweep.state import STATES, RunState, TimeLeft, run_states, time_left
from bench.sweep.todo import find_todo

LINES_A_STATE = 40
"""Runs of one state that are listed; --json lists all."""
CLEAR = "\x1b[H\x1b[2J"
"""Cursor to the top left corner, then an empty screen."""


def run(options: argparse.Namespace) -> int:
    """Say what is done, running, failed and waiting, and how long the rest takes; once or again and again."""
    if options.watch is not None:
        return _watch(suite_of(options), store_of(options), options.watch)
    return _once(options)


@collection_paused()
def _once(options: argparse.Namespace) -> int:
    suite, store = suite_of(options), store_of(options)
    states = _look(suite, store)
    if options.json:
        print(json.dumps([_plain(one) for one in states], indent=1))
    else:
        print(
            "\n".join([headline(suite, states), *left_lines(states, time_left(states, suite.evals)), *listed(states)])
        )
    return _exit_code(states)


def headline(suite: Suite, states: list[RunState]) -> str:
    """How many runs are in which state."""
    counts = Counter(one.state for one in states)
    return f"{suite.name}: {len(states)} runs; " + ", ".join(
        f"{counts[name]} {name}" for name in STATES if counts[name]
    )


def left_lines(states: list[RunState], left: TimeLeft) -> list[str]:
    """How long the rest takes, as far as it is known; nothing when all is done."""
    lines: list[str] = []
    if left.seconds:
        running = sum(one.state == "running" for one in states)
        line = f"  left: {duration_text(sum(left.seconds))} of work at the speeds recorded on {left.machine}"
        if running > 1:
            line += f"; {duration_text(left.with_workers(running))} with {running} runs at a time as now"
        lines.append(line)
    missing = [f"{left.unknown} run(s) of a cell that has no epoch on record"] if left.unknown else []
    missing += ["evaluators never timed: " + ", ".join(sorted(left.unmeasured))] if left.unmeasured else []
    if missing:
        lines.append(f"  not counted: {'; '.join(missing)}")
    if left.guessed:
        lines.append(f"  {left.guessed} run(s) of methods not timed yet are counted as the median method of their cell")
    return lines


def listed(states: list[RunState]) -> list[str]:
    """A line for each run that is not done, running ones first."""
    lines: list[str] = []
    for name in STATES[1:]:
        found = [one for one in states if one.state == name]
        for one in found[:LINES_A_STATE]:
            need = one.item.need if one.item.need != "nothing" else "final"
            lines.append(f"  {name:8} {need:9} {one.item.name}: {one.why}")
        if len(found) > LINES_A_STATE:
            lines.append(f"  {name:8} and {len(found) - LINES_A_STATE} more (--json lists all)")
    return lines


def _look(suite: Suite, store: Store) -> list[RunState]:
    return run_states(find_todo(suite, store), leases=leases_folder(store))


def _watch(suite: Suite, store: Store, seconds: float) -> int:
    """Redraw on a terminal, print a line whenever something changed elsewhere, until all is done or Ctrl-C."""
    shown, code = "", EXIT_INCOMPLETE
    try:
        while True:
            states = _look(suite, store)
            code = _exit_code(states)
            lines = [headline(suite, states), *left_lines(states, time_left(states, suite.evals))]
            if sys.stdout.isatty():
                print(
                    CLEAR + "\n".join([time.strftime("%H:%M:%S ") + lines[0], *lines[1:], *listed(states)]), flush=True
                )
            elif (progress := _progress_line(lines[0], states)) != shown:
                shown = progress
                print(time.strftime("%Y-%m-%d %H:%M:%S "), progress, "".join(lines[1:2]), sep="", flush=True)
            if all(one.item.need == "nothing" for one in states):
                return code
            time.sleep(seconds)
    except KeyboardInterrupt:
        return code


def _progress_line(line: str, states: list[RunState]) -> str:
    epochs = sum(one.epochs_done for one in states if one.state == "running")
    return f"{line} ({epochs} epochs of running ones)" if epochs else line


def _plain(one: RunState) -> dict[str, object]:
    item = one.item
    return {
        "run_id": item.spec.run_id, "labels": item.spec.labels.model_dump(), "seed": item.spec.seed,
        "status": item.record.status if item.record else "not started", "need": item.need, "why": item.why,
        "reason": item.record.reason if item.record else "", "state": one.state, "epochs_done": one.epochs_done,
        "epochs": one.epochs, "machine": one.machine, "quiet_seconds": one.quiet,
        "host": one.host, "process": one.process,
    }  # fmt: skip


def _exit_code(states: list[RunState]) -> int:
    return EXIT_FINE if all(one.state == "done" for one in states) else EXIT_INCOMPLETE
