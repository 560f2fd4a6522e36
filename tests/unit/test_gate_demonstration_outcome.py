"""The outcome of the gate's demonstration: the page shows it, and it follows from the runs that it holds."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from bench.gate.baseline import read_baseline
from bench.gate.decision import OPEN, PASS, REGRESSION, Rule, decide
from tools import gate_demonstration as tool
from tools import gate_demonstration_tables as tables
from tools.gate_characteristics import Setting, simulate
from tools.gate_demonstration_expected import EXAMPLE_DROPS

OUTCOME = json.loads(tables.OUTCOME.read_text(encoding="utf-8"))
CODES = {"pass": PASS, "regression": REGRESSION, "inconclusive": OPEN}


def test_studies_are_those_that_were_planned():
    planned = [(study.name, study.seeds) for study in tool.studies()]
    done = [(study["tree"], study["seeds"]) for study in OUTCOME["studies"]]
    assert done == [each for each in planned if each in done]
    names = [name for name, _ in planned]
    assert OUTCOME["planned"] == {name: names.count(name) for name in names}
    table = tables.trees_table(OUTCOME)
    for name, count in OUTCOME["planned"].items():
        assert f"| {name} | {[tree for tree, _ in done].count(name)} of {count} |" in table


def test_the_page_shows_the_committed_outcome():
    page = tables.PAGE.read_text(encoding="utf-8")
    assert tables.with_tables(page, OUTCOME) == page
    other = copy.deepcopy(OUTCOME)
    other["studies"][0]["verdict"] = "regression" if other["studies"][0]["verdict"] == "pass" else "pass"
    assert tables.with_tables(page, other) != page
    other["studies"][0]["verdict"] = "missing"
    with pytest.raises(ValueError, match="missing"):
        tables.with_tables(page, other)


def test_verdicts_follow_from_the_runs():
    """Every study replayed from its runs, with the differences computed by hand."""
    runs, margin = OUTCOME["runs"], OUTCOME["margin"]
    methods = list(runs["baseline"])
    base = np.array([list(runs["baseline"][method].values()) for method in methods]).T[None]
    assert base.shape == (1, tool.BASE_SEEDS, 3)
    for study in OUTCOME["studies"]:
        rows = {row["method"]: row for row in study["rows"]}
        new = np.full((1, 5, 3), np.nan)
        for place, method in enumerate(methods):
            values = runs[study["tree"] if method == study["changed"] else "unchanged"][method]
            for order, seed in enumerate(study["seeds"]):
                new[0, order, place] = values.get(str(seed), np.nan)
        found = decide(new, base, np.full(3, margin), [0] * 3, np.full(3, 100 / 1747), Rule(OUTCOME["alpha"]))
        for place, method in enumerate(methods):
            used = rows[method]["n_after"]
            assert found.code[0, place] == CODES[rows[method]["verdict"]]
            assert found.seeds[0, place] == used
            by_hand = new[0, :used, place].mean() - base[0, :, place].mean()
            assert rows[method]["change"] == pytest.approx(by_hand, abs=1e-9)
        regressed = REGRESSION in found.code or bool(found.mean_regressed[0])
        expected = "regression" if regressed else "pass" if (found.code == PASS).all() else "inconclusive"
        assert (study["verdict"], study["exit_code"]) == (expected, {"pass": 0, "regression": 1}.get(expected, 3))


def test_unchanged_methods_of_faulty_trees_have_the_clones_digests():
    digests = OUTCOME["source_digests"]
    for name, fault in tool.FAULTS.items():
        different = {method for method in digests[name] if digests[name][method] != digests["unchanged"][method]}
        assert different == {fault.method}


def by_design(values: dict[str, float]) -> list[float]:
    """Of fifty runs all, of fewer those of the first looks, which no verdict asked for."""
    return [value for seed, value in values.items() if len(values) == 50 or int(seed) % 5 == 0]


def test_effects_recomputed():
    runs = OUTCOME["runs"]
    assert OUTCOME["effects"]
    for name, effect in OUTCOME["effects"].items():
        method = tool.FAULTS[name].method
        faulty = by_design(runs[name][method])
        healthy = [*runs["baseline"][method].values(), *by_design(runs["unchanged"][method])]
        assert (effect["faulty_runs"], effect["healthy_runs"]) == (len(faulty), len(healthy))
        assert len(healthy) >= tool.BASE_SEEDS + 10
        assert effect["change"] == pytest.approx(np.mean(faulty) - np.mean(healthy), abs=1e-9)
        error = (np.var(faulty, ddof=1) / len(faulty) + np.var(healthy, ddof=1) / len(healthy)) ** 0.5
        assert effect["standard_error"] == pytest.approx(error, abs=1e-9)


def setting(drop: float) -> Setting:
    return Setting(
        round(OUTCOME["expected"]["spread"], 3), OUTCOME["margin"], 3, round(drop, 3), base_seeds=tool.BASE_SEEDS
    )


def test_expectations_recomputed():
    expected, effect = OUTCOME["expected"], OUTCOME["effects"].get(tables.SUBTLE)
    variances = [np.var(list(values.values()), ddof=1) for values in OUTCOME["runs"]["baseline"].values()]
    assert expected["spread"] == pytest.approx(np.mean(variances) ** 0.5, abs=1e-9)
    drops = {"no change": 0.0}
    if effect is not None:
        change, error = effect["change"], effect["standard_error"]
        drops |= {"measured": -change, "two errors less": -change - 2 * error, "two errors more": -change + 2 * error}
    assert {name: at["drop"] for name, at in expected.items() if name != "spread"} == pytest.approx(drops)
    for name in drops:
        at = expected[name]
        found = simulate(setting(at["drop"]), 4000, Rule(OUTCOME["alpha"]))
        assert at["stated"] == pytest.approx([found.passed, found.regressed, found.open], abs=0.03)
        assert sum(at["this baseline"]) == pytest.approx(1, abs=1e-9)
        assert sum(at["as scattered"]) == pytest.approx(1, abs=1e-9)


def test_the_example_of_the_page_recomputed():
    assert [at["drop"] for at in OUTCOME["example"]] == list(EXAMPLE_DROPS)
    for at in OUTCOME["example"][::2]:
        found = simulate(setting(at["drop"]), 2000, Rule(OUTCOME["alpha"]))
        assert [at["passed"], at["regressed"], at["open"]] == pytest.approx(
            [found.passed, found.regressed, found.open], abs=0.04
        )
        assert at["seeds"] == pytest.approx(found.seeds, abs=0.1)


def test_the_runs_of_the_outcome_are_those_of_the_baseline():
    for entry in read_baseline(tables.BASELINE).accuracy:
        values = {str(run.seed): pytest.approx(100 * run.value) for run in entry.runs}
        assert OUTCOME["runs"]["baseline"][entry.labels.method] == values
