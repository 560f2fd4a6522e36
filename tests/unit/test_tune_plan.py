"""Equal numbers of trials, from spaces that stand with the methods, never without validation images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.config.search import read_space
from bench.config.sections import resolve_method
from bench.errors import BadInput
from bench.tune.plan import Settings, plan_trials, require_equal_trials
from tests.unit.tuning_cases import FILES, load, write_configs


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    return write_configs(tmp_path / "configs")


def test_every_method_gets_the_same_number_of_trials_with_one_foreign_seed(configs):
    plans = plan_trials(load(configs), Settings(5))
    assert [(plan.method, len(plan.trials)) for plan in plans] == [
        ("erm", 0), ("mixup", 5), ("mixup-strong", 0), ("cutmix", 5),
    ]  # fmt: skip
    seeds = {trial.planned.spec.seed for plan in plans for trial in plan.trials}
    assert seeds == {90001}
    for plan in plans:
        for trial in plan.trials:
            spec = trial.planned.spec
            assert (
                spec.model_copy(
                    update={"method": plan.default.spec.method, "seed": 0, "labels": plan.default.spec.labels}
                )
                == plan.default.spec
            )
            assert spec.method.parameters == {**plan.default.spec.method.parameters, **trial.values}
    mixup = plans[1]
    assert mixup.trials[0].planned.spec.method == mixup.default.spec.method
    assert len({trial.planned.spec.arm for trial in mixup.trials}) == 5


def test_methods_do_not_share_their_draws(configs):
    plans = plan_trials(load(configs), Settings(5))
    assert plans[1].trials[1].values["alpha"] != plans[3].trials[1].values["alpha"]


def test_more_trials_for_one_method_are_refused(configs):
    plans = plan_trials(load(configs), Settings(3))
    require_equal_trials(plans)
    more = replace(plans[3], trials=(*plans[3].trials, plans[3].trials[0]))
    with pytest.raises(ValueError, match="different numbers of trials"):
        require_equal_trials([*plans[:3], more])


def test_each_cell_is_tuned_for_itself(configs):
    (configs / "protocol" / "long.yaml").write_text(FILES["protocol/short.yaml"].replace("30", "60"))
    plans = plan_trials(load(configs, "protocol=[short, long]"), Settings(2))
    assert [plan.cell[2] for plan in plans] == ["short"] * 4 + ["long"] * 4
    assert [t.values for t in plans[1].trials] == [t.values for t in plans[5].trials]


def test_what_the_arm_or_the_suite_sets_is_not_searched(configs):
    plans = plan_trials(load(configs, "method.probability=0.5"), Settings(2))
    strong, cutmix = plans[2], plans[3]
    assert (strong.space.searched, strong.space.fixed) == ((), ("alpha",))
    assert [item.name for item in cutmix.space.searched] == ["alpha"]
    assert cutmix.space.fixed == ("probability",)
    assert {trial.planned.spec.method.parameters["probability"] for trial in cutmix.trials} == {0.5}
    in_file = (configs / "suite" / "s.yaml").read_text() + "set:\n  method.alpha: 0.3\n"
    (configs / "suite" / "s.yaml").write_text(in_file)
    assert [item.name for item in plan_trials(load(configs), Settings(2))[3].space.searched] == ["probability"]


@pytest.mark.parametrize(
    ("changed", "options", "validation", "message"),
    [
        ({}, [], False, "data 'digits' hold out no validation images.*add --set data.validation=0.1"),
        ({}, ["seeds=[1, 90001]"], True, "--seed 90001: is a seed of suite s"),
        ({}, ["methods=[erm]"], True, "none of its methods has anything to tune$"),
        ({}, ["methods=[mixup]", "method.alpha=1"], True, "anything to tune; leave out what is set: method.alpha$"),
        ({"mixup": "implementation: mixup\n"}, [], True, "mixup has parameters and no file says which to search"),
    ],
)
def test_what_cannot_be_tuned_fairly_is_refused(tmp_path, changed, options, validation, message):
    configs = write_configs(tmp_path / "configs", **changed)
    with pytest.raises(BadInput, match=message):
        plan_trials(load(configs, *options, validation=validation), Settings(2))


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("search: 3\n", "mixup.yaml:2: 'search' must be a mapping"),
        ("search:\n  alhpa: [1.0, 2.0]\n", "mixup.yaml:3: search: unknown parameter 'alhpa'; did you mean 'alpha'"),
        ("search:\n  alpha: [1.0, -2.0]\n", "mixup.yaml:3: 'search.alpha' must be greater than or equal to 0"),
        ("search:\n  alpha: [1.0]\n", "two different values"),
        ("search:\n  alpha: 1.0\n", "must be a list of values, or"),
        ("search:\n  alpha: {low: 2.0, high: 1.0}\n", "'low' must be a number below 'high'"),
        ("search:\n  alpha: {low: 0, high: 1.0, scale: log}\n", "a log scale needs 'low' above 0"),
        ("search:\n  alpha: {low: 1.0}\n", "'search.alpha.high' is missing"),
        ("search:\n  alpha: {low: 1.0, high: 2.0, skale: log}\n", "unknown key 'search.alpha.skale'"),
    ],
)
def test_mistakes_in_a_search_space_are_found_when_the_method_is_read(tmp_path, search, message):
    configs = write_configs(tmp_path / "configs", mixup=f"implementation: mixup\n{search}")
    with pytest.raises(BadInput, match=message.replace("(", r"\(")):
        load(configs)


def test_every_shipped_method_says_what_to_search():
    from bench.config.folders import ConfigFolders

    folders = ConfigFolders()
    for arm in folders.names("method"):
        spec = resolve_method(arm, "test", folders, []).spec
        space = read_space(arm, spec.implementation, set(), folders)
        assert all(not item.choices or item.name in spec.parameters for item in space.searched)
        if arm == spec.implementation and spec.parameters:
            assert space.searched, arm
            for item in space.searched:
                assert item.low <= spec.parameters[item.name] <= item.high, f"{arm}: default of {item.name} is outside"
