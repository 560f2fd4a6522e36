"""`mixbench gate`."""

from __future__ import annotations

import argparse
import contextlib

from bench.cli.suite_options import store_of
from bench.errors import EXIT_FINE, BadInput
from bench.gate.accept import accept
from bench.gate.baseline import LOOSEST, RECOMMENDED_SEEDS, STRICTEST, Margins
from bench.gate.check import gate
from bench.gate.decision import Rule
from bench.gate.outputs import append_step_summary, write_json, write_junit
from bench.gate.power import baseline_power
from bench.gate.terminal import outcome_text, power_text
from bench.sweep.lock import results_lock
from bench.sweep.options import Options
from bench.sweep.sweep import require_records


def run(options: argparse.Namespace) -> int:
    """Compare the current code's runs with a baseline, or make them the new one."""
    return _accept(options) if options.kind == "accept" else _gate(options)


def _gate(options: argparse.Namespace) -> int:
    with contextlib.ExitStack() as held:
        machine = None
        if options.run:
            lock = held.enter_context(results_lock(options.results))
            machine = Options(options.device, options.workers, options.threads, None, lock)
        store = store_of(options, indexed=False)
        outcome = gate(options.kind, options.baseline, options.suites, store, options.assignments, machine)
    print(outcome_text(outcome))
    if options.json:
        write_json(outcome, options.json)
    if options.junit:
        write_junit(outcome, options.junit)
    if options.github:
        append_step_summary(outcome)
    return outcome.exit_code


def _accept(options: argparse.Namespace) -> int:
    accuracy = options.margin
    robustness = accuracy if options.robustness_margin is None else options.robustness_margin
    if not (0 < accuracy < 100 and 0 < robustness < 100):
        raise BadInput("--margin: is in percentage points, above 0 and below 100")
    if not STRICTEST <= options.alpha <= LOOSEST:
        raise BadInput(f"--alpha: is a chance between {STRICTEST:g} and {LOOSEST:g}, such as 0.05")
    store = store_of(options, indexed=False)
    require_records(store)
    margins = Margins(accuracy=accuracy, robustness=robustness)
    made = accept(
        options.baseline, options.suites, store, options.reason, margins, options.assignments, options.alpha,
        options.recorded,
    )  # fmt: skip
    for kind in ("accuracy", "robustness"):
        powers = baseline_power(getattr(made.baseline, kind), Rule(options.alpha))
        if powers:
            print(f"{kind.upper()}\n{power_text(powers, getattr(margins, kind))}\n")
    if not made.baseline.speed:
        print("No step times of the current code: `gate speed` needs some sessions of `mixbench speed` first.")
    if min(len(entry.runs) for entry in made.baseline.accuracy) < RECOMMENDED_SEEDS:
        print(f"Fewer than {RECOMMENDED_SEEDS} seeds: the gate will be open more often.")
    for entry in made.baseline.accuracy:
        if (versions := len({run.source_digest for run in entry.runs})) > 1:
            print(f"{entry.labels.method}: its runs were made by {versions} versions of the code.")
    for left_out in made.left_out:
        print(f"Left out: {left_out}")
    print(f"Written: {options.baseline}")
    return EXIT_FINE
