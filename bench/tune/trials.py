"""Making the trials: ordinary runs without a look at the test images, in a store of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.config.suite import Planned, Suite
from bench.records import Store
from bench.sweep.options import Options
from bench.sweep.sweep import run_sweep
from bench.sweep.todo import Todo, find_todo
from bench.tune.choose import Outcome, outcome
from bench.tune.plan import ArmPlan, Trial

TUNING_FOLDER = "tuning"


def trial_store(results: Path) -> Store:
    """Where trials are recorded: apart, so that no table of results ever shows one."""
    return Store(results / TUNING_FOLDER / "records")


def run_trials(suite: Suite, plans: list[ArmPlan], store: Store, options: Options) -> list[list[Outcome]]:
    """Make the trials that have no record yet; returns what all of them came to, a list for each plan.

    Equal settings, as a short list of choices gives, are trained once and count as often as they were proposed.
    """
    runs = _distinct(plans)
    trials = _trial_suite(suite, list(runs.values()))
    run_sweep(trials, store, replace(options, trial=True))
    done = dict(zip(runs, find_todo(trials, store), strict=True))
    return [[_outcome(trial, done[trial.planned.spec.arm]) for trial in plan.trials] for plan in plans]


def _outcome(trial: Trial, item: Todo) -> Outcome:
    return outcome(trial, item.spec.run_id, None if item.why.startswith("stale") else item.record)


def _distinct(plans: list[ArmPlan]) -> dict[str, Planned]:
    """The trials' runs by the id of their setting, each once."""
    found: dict[str, Planned] = {}
    for plan in plans:
        for trial in plan.trials:
            found.setdefault(trial.planned.spec.arm, trial.planned)
    return found


def _trial_suite(suite: Suite, planned: list[Planned]) -> Suite:
    title = f"Tuning trials of {suite.file.title}"
    file = suite.file.model_copy(update={"title": title, "evals": (), "speed": "none"})
    return replace(suite, name=f"{suite.name} (tuning)", file=file, planned=planned)
