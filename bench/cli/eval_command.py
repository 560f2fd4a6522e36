"""`mixbench eval`."""

from __future__ import annotations

import argparse
import sys

from bench.cli.missing import exit_code
from bench.cli.suite_options import store_of, suite_of
from bench.cli.tables import suite_tables, write_and_print
from bench.sweep.lock import results_lock
from bench.sweep.sweep import Options, run_evaluations


def run(options: argparse.Namespace) -> int:
    """Evaluate the suite's finished runs; nothing is trained."""
    axes = {"evals": [name.strip() for name in options.evals.split(",")]} if options.evals else {}
    suite = suite_of(options, **axes)
    store = store_of(options)
    with results_lock(options.results) as lock:
        missing = run_evaluations(suite, store, Options(options.device, options.workers, options.threads, None, lock))
        write_and_print(suite, suite_tables(suite, store, options.hardware), options.results, figures=False)
    return exit_code(missing, sys.stderr)
