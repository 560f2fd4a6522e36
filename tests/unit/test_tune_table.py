"""The table of a tuning against numbers computed by hand and by scipy."""

from __future__ import annotations

import csv
import io
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from bench.config.overrides import Overrides, parse_set_options
from bench.config.suite import Suite
from bench.spec import Spec
from bench.tune.choose import choose, outcome
from bench.tune.comparison import ByArm, Gap, Runs, gaps
from bench.tune.plan import Settings, plan_trials
from bench.tune.table import trials_table, tuning_table
from bench.tune.tuned_suite import Tuned, write_tuned_suite
from bench.tune.write import write_tuning
from tests.unit.tuning_cases import load, recorded, write_configs

SETTINGS = Settings(3)
VALIDATION = {"mixup": (0.5, 0.8, None), "cutmix": (0.7, 0.7, 0.6)}
TEST = {
    "erm": (0.70, 0.71), "mixup": (0.72, 0.73), "mixup-tuned": (0.75, 0.745), "mixup-strong": (0.6, 0.62),
    "cutmix": (0.8, 0.81), "cutmix-tuned": (0.8, 0.81),
}  # fmt: skip


class Case:
    """A suite of which mixup's second trial is the best, its third diverged, and cutmix's default wins a tie."""

    def __init__(self, folder: Path) -> None:
        self.configs = write_configs(folder / "configs")
        self.suite = load(self.configs)
        self.tuned: list[Tuned] = []
        for plan in plan_trials(self.suite, SETTINGS):
            found = [
                outcome(trial, f"id-{trial.number}", recorded(
                    folder / "trials", trial.planned.spec, {"validation": share},
                    status="ok" if share else "diverged", reason="" if share else "not\nfinite",
                ))
                for trial, share in zip(plan.trials, VALIDATION.get(plan.method, ()), strict=True)
            ]  # fmt: skip
            self.tuned.append(Tuned(plan, tuple(found), choose(found)))
        given = parse_set_options(["data.validation=0.2"])
        self.after_suite = write_tuned_suite(self.suite, given, self.tuned, folder / "out", SETTINGS)
        self.records = folder / "records"
        self.default, self.after = self.runs(self.suite), self.runs(self.after_suite)

    def runs(self, suite: Suite) -> ByArm:
        found: ByArm = {}
        for item in suite.planned:
            labels = item.spec.labels
            key = ((labels.data, labels.backbone, labels.protocol), labels.method)
            share = TEST[labels.method][item.spec.seed]
            record = recorded(self.records, item.spec, {"test": share, "validation": 0.0}, {"test": 0.99})
            ok = found[key].ok if key in found else {}
            found[key] = Runs(item.spec.arm, {**ok, item.spec.seed: record}, len(ok) + 1)
        return found

    @property
    def rows(self) -> dict[str, dict[str, str]]:
        text = tuning_table(self.tuned, self.default, self.after, SETTINGS).csv()
        return {row["method"]: row for row in csv.DictReader(io.StringIO(text))}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(tmp_path_factory.mktemp("tuned"))


def test_rows_say_what_was_tried_chosen_and_gained(case):
    rows = case.rows
    assert list(rows) == ["erm", "mixup", "mixup-strong", "cutmix"]
    mixup = rows["mixup"]
    chosen = case.tuned[1].outcomes[1].trial.values["alpha"]
    assert (mixup["trials"], mixup["trials_failed"], mixup["chosen_trial"]) == ("3", "1", "2")
    assert (mixup["chosen"], mixup["default"]) == (f"alpha = {chosen}", "alpha = 1.0")
    assert (mixup["validation_default"], mixup["validation_chosen"]) == ("50.00", "80.00")
    assert mixup["footnotes"] == "trial 3 diverged (not finite)"
    assert (mixup["default_top1"], mixup["tuned_top1"], mixup["gap"]) == ("72.50", "74.75", "2.25")
    assert rows["erm"]["searched"] == "nothing to tune"
    assert (rows["erm"]["trials"], rows["erm"]["chosen_trial"], rows["erm"]["gap"]) == ("0", "", "0.00")
    assert rows["mixup-strong"]["searched"] == "nothing to tune; fixed: alpha"
    cutmix = rows["cutmix"]
    assert (cutmix["chosen_trial"], cutmix["gap"], cutmix["gap_low"]) == ("1", "0.00", "")
    assert cutmix["default_arm"] == cutmix["tuned_arm"]


def test_intervals_are_those_of_scipy(case):
    row = case.rows["mixup"]
    low, high = stats.t.interval(0.95, 1, 74.75, stats.sem([75.0, 74.5]))
    assert (row["tuned_top1_low"], row["tuned_top1_high"]) == (f"{low:.2f}", f"{high:.2f}")


def test_gap_of_a_single_method_is_the_paired_t_interval(case):
    """With one pair of rows the pooled variance is that of the pairs' own differences."""
    shares = ([0.70, 0.72, 0.71, 0.69], [0.73, 0.735, 0.75, 0.70])
    spec = case.suite.planned[0].spec
    rows = []
    for number, values in enumerate(shares):
        runs = {}
        for seed, share in enumerate(values):
            own = spec.model_copy(
                update={"seed": seed, "labels": spec.labels.model_copy(update={"method": str(number)})}
            )
            runs[seed] = recorded(case.records / "single" / str(number), own, {"test": share})
        rows.append(Runs(f"arm {number}", runs, 4))
    gap = gaps({"m": rows[0]}, {"m": rows[1]})["m"]
    expected = stats.ttest_rel(shares[1], shares[0]).confidence_interval(0.95)
    assert gap.value == pytest.approx(statistics.mean(shares[1]) - statistics.mean(shares[0]))
    assert (gap.interval.low, gap.interval.high) == pytest.approx((expected.low, expected.high))
    assert gaps({"m": rows[0]}, {"m": Runs("arm 2", {}, 4)})["m"] == Gap(None, None)


def test_a_method_with_more_trials_makes_no_table(case):
    plan = case.tuned[1].plan
    greedy = replace(case.tuned[1], plan=replace(plan, trials=(*plan.trials, plan.trials[0])))
    with pytest.raises(ValueError, match="different numbers of trials"):
        tuning_table([case.tuned[0], greedy, *case.tuned[2:]], case.default, case.after, SETTINGS)


def test_every_trial_is_shown(case):
    rows = list(csv.DictReader(io.StringIO(trials_table(case.tuned).csv())))
    assert [(row["method"], row["trial"], row["status"], row["chosen"]) for row in rows] == [
        ("mixup", "1", "ok", "0"), ("mixup", "2", "ok", "1"), ("mixup", "3", "diverged", "0"),
        ("cutmix", "1", "ok", "1"), ("cutmix", "2", "ok", "0"), ("cutmix", "3", "ok", "0"),
    ]  # fmt: skip
    assert [row["validation_top1"] for row in rows] == ["50.00", "80.00", "", "70.00", "70.00", "60.00"]
    assert rows[2]["reason"] == "not finite"


def test_the_page_escapes_names_and_says_how_the_choice_was_made(case, tmp_path):
    table = tuning_table(case.tuned, case.default, case.after, SETTINGS)
    table.rows[0]["method"] = "<b>|x"
    write_tuning(table, trials_table(case.tuned), tmp_path)
    page = (tmp_path / "tuning.md").read_text()
    assert "&lt;b>\\|x" in page
    assert "No trial was evaluated on a test image" in page
    assert "3 (1 failed)" in page
    assert "(the default)" in page
    assert (tmp_path / "tuning.csv").read_text() == table.csv()


def specs(suite: Suite) -> dict[tuple[str, int], Spec]:
    return {(item.spec.labels.method, item.spec.seed): item.spec for item in suite.planned}


def test_the_tuned_suite_trains_the_chosen_values_with_the_suites_seeds(case):
    before, after = specs(case.suite), specs(case.after_suite)
    assert {name for name, _ in after} == {"erm", "mixup-tuned", "mixup-strong", "cutmix-tuned"}
    assert {seed for _, seed in after} == {0, 1}
    chosen = case.tuned[1].outcomes[1].trial.values
    for seed in (0, 1):
        assert after["mixup-tuned", seed].method.parameters == {**before["mixup", seed].method.parameters, **chosen}
        assert after["cutmix-tuned", seed].arm == before["cutmix", seed].arm
        assert {spec.cell for spec in after.values()} == {spec.cell for spec in before.values()}
    assert case.after_suite.file.base == "erm"
    assert case.after_suite.planned[1].title == "Mixup (tuned)"


def test_the_tuned_suite_is_found_and_complete_without_the_first_suites_folder(case, monkeypatch, tmp_path):
    from bench.config.suite import load_suite

    moved = tmp_path / "elsewhere"
    (case.after_suite.path.parent.parent).rename(moved)
    monkeypatch.chdir(tmp_path)
    again = load_suite(str(moved / "suite" / "s-tuned.yaml"), Overrides("--set"))
    assert [item.spec for item in again.planned] == [item.spec for item in case.after_suite.planned]
    moved.rename(case.after_suite.path.parent.parent)
