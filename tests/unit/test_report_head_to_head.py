from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from bench.cli.main import main
from bench.errors import BadInput
from bench.records import Store
from bench.report.compared_metrics import compared_metrics
from bench.report.head_to_head import head_to_head
from bench.report.head_to_head_tables import cells_table, overall_table, plain_data
from bench.report.head_to_head_words import sentences, spread_notes
from bench.report.readings import Readings
from bench.report.study import arrange
from bench.report.verdicts import p_text
from tests.golden.tables.example_records import make_spec, write_clean, write_run, write_study

EFFECTS = {"erm": 0.0, "mixup": 0.004, "cutmix": 0.03, "augmix": 0.0}


def drawn(seed: int, seeds: int = 3, effects: dict[str, float] = EFFECTS, spread: float = 0.003):
    generator = np.random.default_rng(seed)
    return {name: (0.8 + effect + generator.normal(0, spread, seeds)).tolist() for name, effect in effects.items()}


def write_top1(root: Path, values: dict[str, list[float]], **spec: str) -> None:
    """Runs without any evaluation, which every line of costs a sync of the disk."""
    for method, tops in values.items():
        for seed, top1 in enumerate(tops):
            write_run(root, make_spec(method, seed, **spec), top1)


def compared(root: Path, method: str = "all", metric: str = "top1", reference: str = "erm", seed: int = 1):
    return head_to_head(arrange(Store(root).runs(), None, reference), method, metric, seed)


@pytest.fixture(scope="module")
def one_cell(tmp_path_factory) -> tuple[Path, dict[str, list[float]]]:
    root = tmp_path_factory.mktemp("one") / "records"
    values = drawn(3)
    write_study(root, values)
    return root, values


@pytest.fixture(scope="module")
def nine_sets(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("nine") / "records"
    for place in range(9):
        write_top1(root, drawn(place), data=f"data-{place}")
    write_top1(root, drawn(20), data="data-0", backbone="vit")
    return root


def residual(values: dict[str, list[float]]) -> tuple[float, int]:
    """Mean square of the interaction, by hand, in points."""
    table = np.array(list(values.values())) * 100
    left = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    df = (table.shape[0] - 1) * (table.shape[1] - 1)
    return float((left**2).sum() / df), df


def detectable(variance: float, df: int, seeds: int, alpha: float) -> float:
    """The true difference that a two-sided t test finds 4 times in 5, by scipy's root finder."""
    critical = scipy_stats.t.ppf(1 - alpha / 2, df)

    def power(shift: float) -> float:
        below = np.nan_to_num(scipy_stats.nct.cdf(-critical, df, shift))  # not a number where it is 0
        return scipy_stats.nct.sf(critical, df, shift) + below - 0.8

    return float(optimize.brentq(power, 0, 12) * math.sqrt(2 * variance / seeds))


def test_numbers_of_one_cell_by_hand(one_cell):
    root, values = one_cell
    variance, df = residual(values)
    error = math.sqrt(2 * variance / 3)
    rows = {row["method"]: row for row in cells_table(compared(root)).rows}
    gaps = {name: 100 * (np.mean(values[name]) - np.mean(values["erm"])) for name in rows}
    p_values = {name: 2 * scipy_stats.t.sf(abs(gap) / error, df) for name, gap in gaps.items()}
    adjusted = dict(zip(p_values, multipletests(list(p_values.values()), method="holm")[1], strict=True))
    for name, row in rows.items():
        low, high = scipy_stats.t.interval(0.95, df, gaps[name], error)
        assert (row["difference"], row["difference_low"], row["difference_high"]) == pytest.approx(
            (gaps[name], low, high)
        )
        assert (row["df"], row["pooled"], row["seeds"], row["base_seeds"]) == (6, "cell", 3, 3)
        assert (row["p"], row["p_holm"]) == pytest.approx((p_values[name], adjusted[name]))


def test_words_of_one_cell_are_made_from_its_numbers(one_cell):
    root, values = one_cell
    variance, df = residual(values)
    said = sentences(compared(root, "cutmix"))
    row = cells_table(compared(root, "cutmix")).rows[0]
    alone, hardest = (detectable(variance, df, 3, alpha) for alpha in (0.05, 0.05 / 3))
    more, more_hardest = (detectable(variance, df * 7 // 2, 8, alpha) for alpha in (0.05, 0.05 / 3))
    where = "digits-5 / test_resnet / digits-100ep"
    assert said[0].startswith(
        f"{where}: cutmix against erm: better, {row['difference']:+.2f} points "
        f"[{row['difference_low']:+.2f}, {row['difference_high']:+.2f}], p <0.001, "
    )
    assert said[0].endswith(" after correction for 3 tests.")
    assert said[1] == (
        f"{where}: 3 seeds cannot show less than {alone:.2f} points here (80% of the time, one test; {hardest:.2f} as the "
        f"hardest of 3); 8 would show {more:.2f} ({more_hardest:.2f})."
    )
    assert said[-1].startswith("Intervals are 95% each, not corrected; 3 tests are corrected for by Holm")


def test_what_is_not_shown_says_what_is_excluded(one_cell):
    root, values = one_cell
    variance, df = residual(values)
    gap = 100 * (np.mean(values["augmix"]) - np.mean(values["erm"]))
    bound = max(abs(end) for end in scipy_stats.t.interval(0.9, df, gap, math.sqrt(2 * variance / 3)))
    [line] = [line for line in sentences(compared(root, "augmix")) if "augmix against erm" in line]
    assert f"no difference shown, {gap:+.2f} points" in line
    assert f"only true differences beyond {bound:.2f} points are excluded" in line
    [line] = [line for line in sentences(compared(root)) if "no difference to erm shown for 2 methods" in line]
    assert f"augmix {bound:.2f}" in line


def test_the_family_is_every_method_whichever_is_shown(one_cell):
    root, _ = one_cell
    everything = {row["method"]: row["p_holm"] for row in cells_table(compared(root)).rows}
    for name, adjusted in everything.items():
        [row] = cells_table(compared(root, name)).rows
        assert row["p_holm"] == adjusted
        assert compared(root, name).family == 3


def test_many_methods_with_one_verdict_share_a_sentence_and_the_best_stand_first(tmp_path):
    effects = {"erm": 0.0, "a": 0.03, "b": 0.05, "c": 0.04, "d": -0.03, "e": 0.001, "f": -0.001}
    write_top1(tmp_path, drawn(5, effects=effects))
    for method in ("g", "h", "i"):
        write_run(tmp_path, make_spec(method, 0), None, status="skipped", planned=[0, 1])
    found = compared(tmp_path)
    rows = {row["method"]: row for row in cells_table(found).rows}
    assert list(rows)[:3] == ["b", "c", "a"]
    assert list(rows)[5:] == ["d", "g", "h", "i"]
    where = "digits-5 / test_resnet / digits-100ep"
    listed = ", ".join(f"{name} {rows[name]['difference']:+.2f} points" for name in "bca")
    largest = p_text(max(rows[name]["p_holm"] for name in "bca"))
    said = sentences(found)
    assert said[0] == f"{where}: better than erm are {listed}; largest p {largest} after correction for 6 tests."
    assert said[1].startswith(f"{where}: no difference to erm shown for 2 methods; ")
    assert said[2].startswith(f"{where}: d against erm: worse, {rows['d']['difference']:+.2f} points [")
    assert said[3] == f"{where}: no finished run has top1: g, h, i."
    assert found.missing == [f"{where}: g, h, i: seed 0 skipped", f"{where}: g, h, i: seed 1 missing"]


def test_many_intervals_that_exclude_zero_alone_share_a_sentence(tmp_path):
    turns = [[0.003, -0.003, 0.0], [-0.003, 0.0, 0.003], [0.0, 0.003, -0.003]]
    effects = {"erm": 0.0} | dict.fromkeys("abcd", 0.006) | {f"z{at}": 0.0 for at in range(14)}
    for place, (name, effect) in enumerate(effects.items()):
        write_top1(tmp_path, {name: [0.8 + effect + shift for shift in turns[place % 3]]})
    found = compared(tmp_path)
    alone = [row for row in cells_table(found).rows if row["p"] < 0.05 <= row["p_holm"]]
    assert len(alone) > 2
    [line] = [line for line in sentences(found) if f"not shown for {len(alone)} methods" in line]
    assert (
        f"among 18 tests that is no rare accident (p from {p_text(min(row['p_holm'] for row in alone))} after" in line
    )
    assert all(f"{row['method']} {row['difference']:+.2f} points" in line for row in alone)


def test_an_interval_that_excludes_zero_alone_is_not_called_better(tmp_path):
    values = {
        "erm": [0.800, 0.802, 0.804],
        "a": [0.806, 0.804, 0.809],
        "b": [0.8, 0.801, 0.805],
        "c": [0.803, 0.8, 0.8],
    }
    write_top1(tmp_path, values)
    found = compared(tmp_path, "a")
    [row] = cells_table(found).rows
    assert row["p"] < 0.05 < row["p_holm"]
    assert "not shown" in sentences(found)[0]
    assert "among 3 tests that is no rare accident" in sentences(found)[0]


def test_the_correlation_between_methods_is_said(tmp_path):
    shift = np.array([0.0, 0.05, -0.02, 0.01])
    values = {
        name: (0.8 + shift + np.random.default_rng(at).normal(0, 0.002, 4)).tolist() for at, name in enumerate("ab")
    }
    write_top1(tmp_path, {"erm": (0.8 + shift).tolist(), **values})
    [note] = spread_notes(compared(tmp_path))
    assert "correlation between methods under one seed 1.00: pairing narrows intervals by 9" in note
    write_top1(tmp_path / "flat", {"erm": [0.8, 0.81, 0.79], "a": [0.8, 0.79, 0.81]})
    [note] = spread_notes(compared(tmp_path / "flat"))
    assert note.endswith("correlation between methods under one seed -1.00: pairing gains nothing.")


def test_over_cells(nine_sets):
    found = compared(nine_sets)
    row = {row["method"]: row for row in overall_table(found).rows}["cutmix"]
    cells = [row for row in cells_table(found).rows if row["method"] == "cutmix"]
    assert row["effect"] == pytest.approx(np.mean([cell["difference"] for cell in cells]))
    by_set: dict[str, list[float]] = {}
    for cell in cells:
        by_set.setdefault(cell["data"], []).append(cell["difference"])
    means = [np.mean(gaps) for gaps in by_set.values()]
    expected = scipy_stats.ttest_1samp(means, 0).confidence_interval()
    _, low, high = plain_data(found)["over_data_sets"]["cutmix"]["interval"]
    assert (low, high) == pytest.approx(expected)
    assert row["interquartile_mean"] == pytest.approx(scipy_stats.trim_mean([c["difference"] for c in cells], 0.25))
    assert row["relative"] == pytest.approx(row["effect"] / 20 * 100, rel=0.05)
    text = " ".join(sentences(found))
    assert "cutmix against erm over 10 cells of 9 data sets: better on average" in text
    assert "2000 resamples, seed 1" in text


def test_ranks_average_the_backbones_of_a_data_set_first(nine_sets):
    found = compared(nine_sets)
    assert found.ranking is not None
    assert found.ranking.data_sets == 9
    means: dict[str, list[list[float]]] = {}
    for cell in found.study.cells:
        rows = sorted(cell.rows, key=lambda row: row.name)
        tops = [np.mean([run.epochs[-1]["test"]["top1"] for run in row.ok.values()]) for row in rows]
        means.setdefault(cell.data, []).append([float(top) for top in tops])
    table = np.array([np.mean(found, axis=0) for found in means.values()])
    expected = scipy_stats.rankdata(-table, axis=1).mean(0)
    assert [found.ranking.mean_ranks[name] for name in sorted(EFFECTS)] == pytest.approx(expected)
    assert found.ranking.friedman == pytest.approx(scipy_stats.friedmanchisquare(*table.T).pvalue)
    assert any("(Nemenyi)" in line for line in sentences(found))


def test_few_data_sets_have_no_critical_difference(tmp_path):
    for place in range(3):
        write_top1(tmp_path, drawn(place), data=f"data-{place}")
    found = compared(tmp_path)
    assert found.ranking is not None
    assert found.ranking.critical is None
    text = " ".join(sentences(found))
    assert "No critical-difference diagram: 3 data sets are fewer than 8 independent ones." in text
    assert "fewer than 4 cells, so no interquartile mean and no profile" in text


def test_the_seed_of_the_resampling_is_honoured(nine_sets):
    first, again, other = (plain_data(compared(nine_sets, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first["cells"] == other["cells"]
    assert first["profiles"]["mixup"]["intervals"] != other["profiles"]["mixup"]["intervals"]
    assert first["profiles"]["mixup"]["seed"] == 1


def test_missing_and_failed_runs_are_named_and_used_as_far_as_they_go(tmp_path):
    write_study(tmp_path, {"erm": [0.80, 0.81, 0.805, 0.80], "mixup": [0.82, 0.83], "cutmix": [0.8, 0.82, 0.81, 0.83]})
    write_run(tmp_path, make_spec("mixup", 2), None, status="oom", planned=range(4))
    found = compared(tmp_path)
    assert found.missing == [
        "digits-5 / test_resnet / digits-100ep: mixup seed 2 oom",
        "digits-5 / test_resnet / digits-100ep: mixup seed 3 missing",
    ]
    row = {row["method"]: row for row in cells_table(found).rows}["mixup"]
    assert (row["seeds"], row["base_seeds"]) == (2, 4)


def test_one_seed_tells_nothing(tmp_path):
    write_top1(tmp_path, {"erm": [0.8], "mixup": [0.82]})
    found = compared(tmp_path)
    [row] = cells_table(found).rows
    assert row["difference"] == pytest.approx(2.0)
    assert row["difference_low"] is row["p"] is None
    assert "+2.00 points, but one seed each tells no difference from chance" in sentences(found)[0]
    write_top1(tmp_path / "same", {"erm": [0.8, 0.8], "mixup": [0.82, 0.82]})
    assert "nothing about chance" in sentences(compared(tmp_path / "same"))[0]


def test_less_is_better_where_it_is(tmp_path):
    for seed, nll in enumerate((0.50, 0.51, 0.49)):
        for method, lower in (("erm", 0.0), ("mixup", 0.2)):
            folder = write_run(tmp_path, make_spec(method, seed), 0.8)
            write_clean(folder, 1 - nll + lower + 0.003 * seed * (method == "mixup"))
    found = compared(tmp_path, metric="NLL")
    assert found.metric.name == "nll"
    assert cells_table(found).rows[0]["difference"] == pytest.approx(-0.203)
    assert "mixup against erm: better, -0.2030 [" in sentences(found)[0]


def test_metrics_are_called_as_in_the_tables(one_cell):
    root, _ = one_cell
    known = compared_metrics(Readings(arrange(Store(root).runs()).cells))
    assert {"top1", "top5", "nll", "corruption_mean", "corruption_blur", "fgsm_mean"} <= set(known)
    assert (known["nll"].direction, known["corruption_mean"].direction, known["ece_15"].direction) == (-1, 1, -1)
    [row] = cells_table(compared(root, "cutmix", "corruption mean")).rows
    gap = cells_table(compared(root, "cutmix")).rows[0]["difference"]
    assert row["difference"] == pytest.approx(gap)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "mixpu"}, r"^METHOD: no run of 'mixpu'; did you mean 'mixup'\?$"),
        ({"reference": "emr"}, r"^--against: no run of 'emr'; did you mean 'erm'\?$"),
        ({"method": "erm"}, r"^METHOD and --against are both 'erm'; choose one of: augmix, cutmix, mixup$"),
        ({"metric": "corruption men"}, r"no run has a metric 'corruption men'; did you mean 'corruption_mean'\?$"),
    ],
)
def test_what_is_unknown_is_refused_with_the_nearest(one_cell, arguments, message):
    with pytest.raises(BadInput, match=message):
        compared(one_cell[0], **arguments)


def test_no_records_are_nothing_to_compare(tmp_path):
    with pytest.raises(BadInput, match="no runs to compare"):
        compared(tmp_path)


def test_command_prints_json_and_words_and_draws(one_cell, nine_sets, capsys):
    results = str(one_cell[0].parent)
    assert main(["compare", "cutmix", "--results", results, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["base"] == "erm"
    assert data["cells"][0]["method"] == "cutmix"
    assert main(["compare", "all", "--results", str(nine_sets.parent), "--figures"]) == 0
    printed = capsys.readouterr()
    assert "TOP1 AGAINST ERM  data-0 / vit / digits-100ep" in printed.out
    assert "p Holm (30)" in printed.out
    assert max(map(len, printed.out.splitlines())) <= 120
    drawn_files = sorted(path.name for path in (nine_sets.parent / "figures" / "compare").iterdir())
    assert drawn_files == [
        f"{name}.{kind}" for name in ("critical-difference", "head-to-head", "profiles") for kind in ("png", "svg")
    ]
    assert main(["compare", "nothing", "--results", results]) == 2
    assert main(["compare", "mixup", "--results", results, "--set", "seeds=1"]) == 2
    assert main(["compare", "mixup", "--results", results, "--seed", "-1"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "mixbench: --seed: must be a whole number from 0, not -1"


def test_a_folder_of_records_stands_where_a_suite_may_stand(one_cell, tmp_path, capsys):
    root, _ = one_cell
    assert main(["compare", "cutmix", "--results", str(root.parent)]) == 0
    printed = capsys.readouterr().out
    for folder in (root, root.parent):
        assert main(["compare", "cutmix", str(folder), "--results", str(tmp_path)]) == 0
        assert capsys.readouterr().out == printed
    assert main(["compare", "cutmix", str(root), "--set", "seeds=1"]) == 2
    assert capsys.readouterr().err == "mixbench: --set: changes a suite, and a folder of records is none\n"


def test_bartletts_p_value_is_printed(one_cell, tmp_path):
    root, values = one_cell
    found = compared(root)
    p_value = float(scipy_stats.bartlett(*values.values()).pvalue)
    assert [row["p_equal_spread"] for row in cells_table(found).rows] == pytest.approx([p_value] * 3)
    [note] = spread_notes(found)
    assert f"; Bartlett's test of equal spreads p {p_text(p_value)}; correlation" in note
    unequal = drawn(5) | {"cutmix": [0.7, 0.8, 0.9]}
    write_top1(tmp_path, unequal)
    [note] = spread_notes(compared(tmp_path))
    assert "since the methods' spreads differ; Bartlett's test of equal spreads p <0.001; correlation" in note
    lone = {name: tops[:1] for name, tops in unequal.items()} | {"erm": unequal["erm"]}
    write_top1(tmp_path / "lone", lone)
    [note] = spread_notes(compared(tmp_path / "lone"))
    assert "Bartlett" not in note
