"""`mixbench run`."""

from __future__ import annotations

import argparse
import sys

from bench.cli.missing import exit_code
from bench.cli.suite_options import store_of, suite_of
from bench.cli.tables import suite_tables, write_and_print
from bench.errors import EXIT_INCOMPLETE
from bench.sweep.executors.settings import read_settings
from bench.sweep.listeners import Listener, Listeners, find_listener
from bench.sweep.lock import results_lock
from bench.sweep.options import Options
from bench.sweep.sweep import EvaluationRefused, run_sweep
from bench.sweep.todo import Todo, find_todo


def run(options: argparse.Namespace) -> int:
    """Bring a suite up to date and print its tables."""
    suite = suite_of(options)
    store = store_of(options)
    executor = read_settings(options.executor, options.executor_settings)
    if options.dry_run:
        for item in find_todo(suite, store):
            print(f"{item.spec.run_id}  {item.need:8}  {item.name}: {item.why}")
        return 0
    listeners = Listeners(_listeners(options))
    machine = Options(
        options.device, options.workers, options.threads, options.run_timeout, executor=executor, listeners=listeners,
    )  # fmt: skip
    missing: list[Todo] = []
    timed = True
    refused: EvaluationRefused | None = None
    try:
        missing, timed = run_sweep(suite, store, machine)
    except EvaluationRefused as error:
        refused = error
    finally:
        listeners.close()
    with results_lock(options.results, patient=True):
        write_and_print(
            suite, suite_tables(suite, store, options.hardware), options.results, figures=not options.no_figures
        )
    if refused:
        raise refused
    code = exit_code(missing, sys.stderr)
    return code if timed else EXIT_INCOMPLETE


def _listeners(options: argparse.Namespace) -> list[Listener]:
    found = [find_listener(given) for given in options.on_event]
    if options.tensorboard is not None:
        from bench.sweep.listeners_tensorboard import TensorBoard

        found.append(TensorBoard(options.tensorboard))
    return found
