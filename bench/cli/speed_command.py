"""`mixbench speed`."""

from __future__ import annotations

import argparse

from bench.cli.cost_file import write_cost
from bench.cli.suite_options import store_of, suite_of
from bench.cli.tables import suite_tables
from bench.config.suite import SpeedSettings
from bench.errors import EXIT_FINE, EXIT_INCOMPLETE, BadInput
from bench.report.terminal import table_text
from bench.sweep.lock import results_lock
from bench.sweep.speed import time_cells
from bench.sweep.sweep import Options


def run(options: argparse.Namespace) -> int:
    """Time the suite's methods anew, in one session a cell, or show what is on record."""
    suite = suite_of(options)
    store = store_of(options)
    settings = suite.file.speed if suite.file.speed != "none" else SpeedSettings()
    if options.rounds is not None:
        if options.rounds < 3:
            raise BadInput(f"--rounds {options.rounds}: at least 3 are needed for an interval")
        settings = settings.model_copy(update={"rounds": options.rounds})
    with results_lock(options.results) as lock:
        machine = Options(options.device, options.workers, options.threads, None, lock)
        fine = options.recorded or time_cells(suite, store, settings, machine, anew=True)
        table = suite_tables(suite, store, options.hardware).throughput
    print(table_text(table))
    if options.write_cost is not None:
        write_cost(table, suite, options.write_cost)
        print(f"Written:\n  {options.write_cost}")
    return EXIT_FINE if fine else EXIT_INCOMPLETE
