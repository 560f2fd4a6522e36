"""A whole tuning: trials, choice, tuned suites, retraining with the suite's seeds, tables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bench.config.overrides import Overrides
from bench.config.suite import Suite
from bench.errors import BadInput
from bench.records import Store
from bench.report.table import Table
from bench.sweep.options import Options
from bench.sweep.sweep import run_sweep
from bench.sweep.todo import Todo, find_todo
from bench.tune.choose import OPEN, Outcome, choose
from bench.tune.comparison import ByArm, runs_by_arm
from bench.tune.plan import ArmPlan, Settings, plan_trials
from bench.tune.settings_file import require_same, write_settings
from bench.tune.table import trials_table, tuning_table
from bench.tune.trials import TUNING_FOLDER, run_trials, trial_store
from bench.tune.tuned_suite import Tuned, write_tuned_suite


@dataclass(frozen=True)
class Tuning:
    """What a tuning came to. suites: paths of the tuned suites. missing: runs that did not end ok.

    open_trials: names of trials that have not ended; nothing is chosen or written then, and the tables are None.
    """

    suites: list[Path]
    missing: list[Todo]
    open_trials: list[str]
    methods: Table | None
    trials: Table | None


def tuning_folder(results: Path, suite: Suite) -> Path:
    """Where the tuned suites and the tables of a suite's tuning are."""
    return results / TUNING_FOLDER / suite.name


def tune(suite: Suite, given: Overrides, results: Path, settings: Settings, options: Options) -> Tuning:
    """Tune a suite's methods and compare default with tuned settings. Goes on from records where it was stopped.

    given: the command line's settings, already part of `suite`. BadInput where the suite cannot be tuned fairly, or
    where the folder of its tuning is of other settings.
    """
    if suite.file.compute is not None:
        raise BadInput(
            f"{suite.name}: tune it without 'compute': what a step of a tuned method costs is not known before; "
            "time the tuned suite, then fit its epochs"
        )
    plans = plan_trials(suite, settings)
    folder = tuning_folder(results, suite)
    require_same(folder, settings, given)
    tuned = [
        Tuned(plan, tuple(found), choose(found))
        for plan, found in zip(plans, run_trials(suite, plans, trial_store(results), options), strict=True)
    ]
    waiting = [f"{item.plan.method} trial {found.trial.number}" for item in tuned for found in _open(item)]
    if waiting:
        return Tuning([], [], waiting, None, None)
    store = Store(results / "records")
    missing, default = _results(suite, store, options)
    write_settings(folder, settings, given)
    suites = _write(suite, given, tuned, plans, folder, settings)
    after: ByArm = {}
    for each in suites:
        lacking, found = _results(each, store, options)
        missing += [item for item in lacking if item.spec.run_id not in {other.spec.run_id for other in missing}]
        after |= found
    methods = tuning_table(tuned, default, after, settings)
    return Tuning([each.path for each in suites], missing, [], methods, trials_table(tuned))


def _open(item: Tuned) -> list[Outcome]:
    return [found for found in item.outcomes if found.status in OPEN]


def _results(suite: Suite, store: Store, options: Options) -> tuple[list[Todo], ByArm]:
    untimed = replace(suite, file=suite.file.model_copy(update={"speed": "none"}))
    missing, _ = run_sweep(untimed, store, options)
    return missing, runs_by_arm(find_todo(untimed, store))


def _write(
    suite: Suite, given: Overrides, tuned: list[Tuned], plans: list[ArmPlan], folder: Path, settings: Settings
) -> list[Suite]:
    """A tuned suite for each cell, since each cell has settings of its own."""
    cells = list(dict.fromkeys(plan.cell for plan in plans))
    return [
        write_tuned_suite(
            suite, given, [item for item in tuned if item.plan.cell == cell],
            folder / "-".join(cell) if len(cells) > 1 else folder, settings,
        )
        for cell in cells
    ]  # fmt: skip
