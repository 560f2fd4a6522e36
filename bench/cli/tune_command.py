"""`mixbench tune`."""

from __future__ import annotations

import argparse
import sys

from bench.cli.missing import exit_code
from bench.cli.suite_options import suite_of
from bench.config.overrides import parse_set_options
from bench.errors import EXIT_INCOMPLETE, BadInput
from bench.report.terminal import table_text
from bench.sweep.lock import results_lock
from bench.sweep.options import Options
from bench.tune.plan import Settings
from bench.tune.tune import tune, tuning_folder
from bench.tune.write import write_tuning


def run(options: argparse.Namespace) -> int:
    """Give every method of a suite the same number of trials and compare default with tuned settings."""
    suite = suite_of(options)
    if options.seed < 0:
        raise BadInput(f"--seed {options.seed}: must be 0 or more")
    settings = Settings(options.trials, options.sampler, options.seed)
    with results_lock(options.results) as lock:
        machine = Options(options.device, options.workers, options.threads, options.run_timeout, lock)
        tuning = tune(suite, parse_set_options(options.assignments), options.results, settings, machine)
    if tuning.methods is None or tuning.trials is None:
        print(f"\n{len(tuning.open_trials)} trial(s) have not ended, nothing is chosen yet; the same command goes on: "
              f"{', '.join(tuning.open_trials[:8])}", file=sys.stderr)  # fmt: skip
        return EXIT_INCOMPLETE
    paths = write_tuning(tuning.methods, tuning.trials, tuning_folder(options.results, suite))
    print(table_text(tuning.methods))
    print("Written:")
    for path in [*paths, *tuning.suites]:
        print(f"  {path}")
    return exit_code(tuning.missing, sys.stderr)
