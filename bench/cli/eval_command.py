"""`mixbench eval`."""

from __future__ import annotations

import argparse
import sys

from bench.cli.missing import exit_code
from bench.cli.suite_options import store_of, suite_of
from bench.cli.tables import suite_tables, write_and_print
from bench.config.folders import ConfigFolders
from bench.config.overrides import parse_set_options
from bench.config.suite import Suite
from bench.errors import BadInput
from bench.records import Store
from bench.sweep.chosen_runs import RUN_ID, checkpoint_suite, import_missing, run_suite
from bench.sweep.lock import results_lock
from bench.sweep.options import Options
from bench.sweep.sweep import EvaluationRefused, run_evaluations
from bench.sweep.todo import Todo


def run(options: argparse.Namespace) -> int:
    """Evaluate finished runs of a suite, a single run, or checkpoints; nothing is trained."""
    store = store_of(options)
    suite = _chosen(options, store)
    if options.checkpoint:
        with results_lock(options.results, patient=True):
            import_missing(suite, options.checkpoint, store)
    machine = Options(options.device, options.workers, options.threads)
    missing: list[Todo] = []
    refused: EvaluationRefused | None = None
    try:
        missing = run_evaluations(suite, store, machine)
    except EvaluationRefused as error:
        refused = error
    with results_lock(options.results, patient=True):
        tables = suite_tables(suite, store, options.hardware)
        write_and_print(suite, tables, options.results, figures=options.figures)
    if refused:
        raise refused
    return exit_code(missing, sys.stderr)


def _chosen(options: argparse.Namespace, store: Store) -> Suite:
    evals = [name.strip() for name in options.evals.split(",")] if options.evals else []
    if options.checkpoint:
        if options.suite is not None:
            raise BadInput(f"--checkpoint: leave '{options.suite}' out; checkpoints make a table of their own")
        if not options.data or not options.backbone:
            raise BadInput("--checkpoint: needs --data NAME and --backbone NAME as well")
        given = parse_set_options(options.assignments)
        if given.axes or given.keys.keys() - {"data", "backbone"}:
            raise BadInput("--set: with --checkpoint only keys of data and backbone can be set, such as data.root")
        return checkpoint_suite(
            options.checkpoint, options.data, options.backbone, options.normalisation, evals or ["clean"], given
        )
    if options.data or options.backbone or options.normalisation:
        raise BadInput("--data, --backbone and --normalisation belong to --checkpoint; for a suite use --set")
    if options.suite is None:
        raise BadInput("say which SUITE or RUN to evaluate, or give --checkpoint FILE")
    if RUN_ID.fullmatch(options.suite) and ConfigFolders().find("suite", options.suite) is None:
        if options.assignments:
            raise BadInput(f"--set: run {options.suite} is finished and its settings stand; use --set with a suite")
        return run_suite(options.suite, store, evals or ["clean"])
    return suite_of(options, **({"evals": evals} if evals else {}))
