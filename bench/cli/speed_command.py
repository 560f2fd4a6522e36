"""`mixbench speed`."""

from __future__ import annotations

import argparse
import functools

from bench.cli.cost_file import write_cost
from bench.cli.suite_options import store_of, suite_of
from bench.cli.tables import suite_tables
from bench.config.suite import SpeedSettings
from bench.errors import EXIT_FINE, EXIT_INCOMPLETE, BadInput, Incomplete
from bench.report.terminal import table_text
from bench.sweep.lock import results_lock
from bench.sweep.speed import time_cells
from bench.sweep.speed_scaling import time_scaling
from bench.sweep.sweep import Options


def run(options: argparse.Namespace) -> int:
    """Time the suite's methods anew, each session in a process of its own, or show what is on record."""
    suite = suite_of(options)
    store = store_of(options)
    settings = suite.file.speed if suite.file.speed != "none" else SpeedSettings()
    if options.rounds is not None:
        if options.rounds < 3:
            raise BadInput(f"--rounds {options.rounds}: at least 3 are needed, and 6 for an interval of one process")
        settings = settings.model_copy(update={"rounds": options.rounds})
    if options.processes is not None:
        settings = settings.model_copy(update={"processes": options.processes})
    with results_lock(options.results) as lock:
        machine = Options(options.device, options.workers, options.threads, None, lock)
        timed = time_scaling if options.scaling else functools.partial(time_cells, anew=True)
        fine = options.recorded or timed(suite, store, settings, machine)
        tables = suite_tables(suite, store, options.hardware)
    table = tables.throughput
    nothing = not any(row["rounds"] for row in table.rows)
    details = [tables.detail(name) for name in ("throughput-split", "throughput-scaling")]
    if options.recorded and nothing and not any(details):
        raise Incomplete(f"no step times of {suite.name} are on record: leave out --recorded")
    for shown in [None if options.scaling and nothing else table, *details]:
        if shown is not None:
            print(table_text(shown))
    if options.write_cost is not None:
        write_cost(table, suite, options.write_cost)
        print(f"Written:\n  {options.write_cost}")
    return EXIT_FINE if fine else EXIT_INCOMPLETE
