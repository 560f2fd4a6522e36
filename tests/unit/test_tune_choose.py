"""The choice rests on the last epoch's validation accuracy: not on test, not on the best epoch."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.tune.choose import Outcome, choose, outcome
from bench.tune.plan import ArmPlan, Settings, plan_trials
from tests.unit.tuning_cases import load, recorded, write_configs


@pytest.fixture
def plan(tmp_path: Path) -> ArmPlan:
    return plan_trials(load(write_configs(tmp_path / "configs")), Settings(4))[1]


def outcomes(root: Path, plan: ArmPlan, *shares: dict[str, float], **options) -> list[Outcome]:
    return [
        outcome(trial, "id", recorded(root, trial.planned.spec, dict(share), **options))
        for trial, share in zip(plan.trials, shares, strict=True)
    ]


def test_validation_decides_where_test_says_the_opposite(tmp_path, plan):
    """Choosing on test instead of validation takes trial 1 and fails here."""
    found = outcomes(
        tmp_path, plan, {"validation": 0.5, "test": 0.99}, {"validation": 0.6, "test": 0.5},
        {"validation": 0.7, "test": 0.1}, {"validation": 0.65, "test": 0.8},
    )  # fmt: skip
    assert choose(found).trial.number == 3
    assert [each.validation for each in found] == [0.5, 0.6, 0.7, 0.65]
    assert found[0].validation_images == 40


def test_a_trial_without_validation_numbers_is_no_candidate_even_with_test_numbers(tmp_path, plan):
    found = outcomes(tmp_path, plan, {"validation": 0.2}, {"test": 0.9}, {"test": 0.9}, {"test": 0.9})
    assert choose(found).trial.number == 1
    assert [each.validation for each in found[1:]] == [None, None, None]


def test_the_last_epoch_counts_not_the_best(tmp_path, plan):
    trials = plan.trials[:2]
    first = recorded(tmp_path, trials[0].planned.spec, {"validation": 0.5}, earlier={"validation": 0.9})
    second = recorded(tmp_path, trials[1].planned.spec, {"validation": 0.6}, earlier={"validation": 0.1})
    found = [outcome(trials[0], "a", first), outcome(trials[1], "b", second)]
    assert choose(found).trial.number == 2


def test_of_equal_trials_the_earliest_is_taken_whatever_the_order(tmp_path, plan):
    found = outcomes(tmp_path, plan, *({"validation": share} for share in (0.5, 0.7, 0.7, 0.7)))
    assert choose(found).trial.number == 2
    assert choose(found[::-1]).trial.number == 2


def test_failed_trials_count_and_are_never_chosen(tmp_path, plan):
    diverged = recorded(tmp_path, plan.trials[0].planned.spec, {"validation": 0.99}, status="diverged", reason="nan")
    good = recorded(tmp_path, plan.trials[1].planned.spec, {"validation": 0.1})
    found = [
        outcome(plan.trials[0], "a", diverged),
        outcome(plan.trials[1], "b", good),
        outcome(plan.trials[2], "c", None),
    ]
    assert [(each.status, each.reason, each.validation) for each in found] == [
        ("diverged", "nan", None), ("ok", "", 0.1), ("missing", "", None),
    ]  # fmt: skip
    assert choose(found).trial.number == 2
    assert choose([found[0], found[2]]) is None
