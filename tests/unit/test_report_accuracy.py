from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bench.records import RecordWriter, Store, evaluation_file
from bench.report import build_tables
from tests.golden.tables.example_records import make_spec, write_clean, write_run, write_study

VALUES = {
    "erm": [0.850, 0.861, 0.842, 0.855],
    "mixup": [0.858, 0.872, 0.849, 0.861],
    "cutmix": [0.872, 0.871, 0.866, 0.880],
}


def accuracy(root, plan=None):
    return build_tables(Store(root).runs(), (), plan).accuracy


def by_method(root, plan=None):
    return {row["method"]: row for row in accuracy(root, plan).rows}


def test_means_intervals_and_differences(tmp_path):
    """Against NumPy, scipy.stats and a two-way analysis of variance written out."""
    plan = write_study(tmp_path, VALUES)
    table = np.array(list(VALUES.values())) * 100
    residuals = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    df = (3 - 1) * (4 - 1)
    reach = scipy_stats.t.ppf(0.975, df) * np.sqrt(2 * (residuals**2).sum() / df / 4)
    for row, values in zip(accuracy(tmp_path, plan).rows, table, strict=True):
        interval = scipy_stats.ttest_1samp(values, 0).confidence_interval()
        assert row["top1"] == pytest.approx(values.mean(), rel=1e-12)
        assert row["top1_sd"] == pytest.approx(values.std(ddof=1), rel=1e-12)
        assert (row["top1_low"], row["top1_high"]) == pytest.approx(tuple(interval), rel=1e-9)
        if row["method"] == "erm":
            assert row["difference"] is None
            continue
        difference = values.mean() - table[0].mean()
        assert row["difference"] == pytest.approx(difference, rel=1e-9)
        assert (row["difference_low"], row["difference_high"]) == pytest.approx(
            (difference - reach, difference + reach)
        )
        assert (row["difference_df"], row["difference_n"]) == (df, 4)


def test_only_the_last_epoch_ranks_and_the_best_stands_apart(tmp_path):
    write_run(tmp_path, make_spec("erm", 0), 0.80, best=0.95)
    write_run(tmp_path, make_spec("erm", 1), 0.82, best=0.70)
    row = by_method(tmp_path)["erm"]
    assert row["top1"] == pytest.approx(81)
    assert row["best_epoch_selected_on_test"] == pytest.approx((95 + 82) / 2)


def test_scalars_are_means_over_the_runs_that_have_them(tmp_path):
    for seed, top1 in enumerate((0.8, 0.9)):
        write_clean(write_run(tmp_path, make_spec("erm", seed), top1), top1, top5=0.97 if seed else None)
    row = by_method(tmp_path)["erm"]
    expected = {"nll": 0.15, "top5": 97, "ece": 5, "ece_floor": 3}
    assert {name: row[name] for name in expected} == pytest.approx(expected)


def test_what_was_not_measured_is_empty_and_never_nan(tmp_path):
    folder = write_run(tmp_path, make_spec("erm", 0), 0.8)
    with RecordWriter(evaluation_file(folder, "clean", "1")) as writer:
        writer.append("metric", name="nll", value=float("nan"), detail={})
        writer.append("metric", name="top5", value=float("inf"), detail={})
    table = accuracy(tmp_path)
    assert [table.rows[0][name] for name in ("nll", "top5", "ece", "top1_low", "difference")] == [None] * 5
    assert "nan" not in table.csv()
    assert "inf" not in table.csv()


def test_a_run_that_ended_ok_without_an_accuracy_is_said(tmp_path):
    write_run(tmp_path, make_spec("erm", 0), 0.8)
    write_run(tmp_path, make_spec("erm", 1), float("nan"), best=0.5)
    row = by_method(tmp_path)["erm"]
    assert (row["n_ok"], row["top1"]) == (2, pytest.approx(80))
    assert row["footnotes"] == "1 ok run(s) without a test accuracy after the last epoch"


def test_statuses_and_reasons(tmp_path):
    plan = [make_spec("erm", seed) for seed in range(7)]
    write_run(tmp_path, plan[0], 0.8)
    for seed, status, reason in ((1, "oom", "8 GiB\n asked"), (2, "oom", "8 GiB asked"), (3, "timeout", None)):
        write_run(tmp_path, plan[seed], None, status=status, reason=reason)
    write_run(tmp_path, plan[4], 0.99, status=None)
    write_run(tmp_path, plan[5], 0.99, status="interrupted")
    row = by_method(tmp_path, plan)["erm"]
    assert row["statuses"] == "1 ok, 1 incomplete, 1 interrupted, 1 missing, 2 oom, 1 timeout"
    assert row["footnotes"] == (
        "oom: 8 GiB asked; oom: 8 GiB asked; timeout; incomplete; interrupted; 1 planned without a record"
    )
    assert row["top1"] == pytest.approx(80)


def test_pairing_uses_only_common_seeds(tmp_path):
    for seed, top1 in ((0, 0.80), (1, 0.82), (2, 0.90)):
        write_run(tmp_path, make_spec("erm", seed), top1)
    for seed, top1 in ((0, 0.83), (1, 0.84), (7, 0.10)):
        write_run(tmp_path, make_spec("mixup", seed), top1)
    row = by_method(tmp_path)["mixup"]
    assert row["difference"] == pytest.approx(2.5)
    assert (row["difference_n"], row["difference_df"]) == (2, 1)


def test_one_seed_gives_a_difference_without_an_interval(tmp_path):
    write_study(tmp_path, {"erm": [0.80], "mixup": [0.85]})
    row = by_method(tmp_path)["mixup"]
    assert row["difference"] == pytest.approx(5)
    assert (row["difference_low"], row["difference_n"]) == (None, None)


def test_alignment_effects_and_mixtures(tmp_path):
    effects = {"alignment_effect_to_first": 3e-7, "alignment_effect_to_second": 0.05}
    write_run(tmp_path, make_spec("alignmix", 0), 0.8, diagnostics=effects, source="a", torch="2.6")
    write_run(
        tmp_path,
        make_spec("alignmix", 1),
        0.8,
        diagnostics={"alignment_effect_to_first": 5e-7},
        source="b",
        torch="2.7",
    )
    table = accuracy(tmp_path)
    row = table.rows[0]
    assert row["alignment_effect_to_first"] == pytest.approx(4e-7)
    assert row["alignment_effect_to_second"] == pytest.approx(0.05)
    assert ",4e-07,0.05," in table.csv()
    assert "different versions of the source; runs were made with different builds of torch" in str(row["footnotes"])
    assert any("no runs of erm" in note for note in table.notes)


def test_unequal_spreads_are_said_and_not_pooled(tmp_path):
    plan = write_study(tmp_path, {"erm": [0.8, 0.8001, 0.8002], "a": [0.81, 0.8101, 0.8103], "b": [0.5, 0.7, 0.9]})
    table = accuracy(tmp_path, plan)
    assert any("each difference uses its own" in note for note in table.notes)
    assert [row["difference_df"] for row in table.rows] == [None, 2, 2]


def test_statement_of_what_can_be_shown(tmp_path):
    plan = write_study(tmp_path, VALUES)
    [statement] = build_tables(Store(tmp_path).runs(), (), plan).statements
    table = np.array(list(VALUES.values())) * 100
    residuals = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    error = np.sqrt(2 * (residuals**2).sum() / 6 / 4)
    critical = scipy_stats.t.ppf(0.975, 6)
    grid = np.linspace(0, 8, 4001)
    power = scipy_stats.nct.sf(critical, 6, grid) + scipy_stats.nct.cdf(-critical, 6, grid)
    detectable = grid[np.argmax(power >= 0.8)] * error
    assert f"4 seeds show a true difference to erm of {detectable:.1f} points with 80% probability" in statement
    noise = 200 * np.sqrt(table[0].mean() / 100 * (1 - table[0].mean() / 100) / 1000)
    assert f"1000 test images leave +-{noise:.1f} points" in statement


@pytest.mark.parametrize(
    ("study", "expected"),
    [
        ({"erm": [0.8], "mixup": [0.9]}, "1 seed cannot tell a difference to erm from chance; run at least 2 seeds."),
        ({"mixup": [0.8, 0.9]}, "shows no differences, since no run of erm ended ok."),
        ({"erm": [0.8, 0.9]}, "shows no differences, since no other method has a finished run with a seed of erm's."),
        ({"erm": [0.8, 0.8], "mixup": [0.9, 0.9]}, "nothing can be said about chance."),
    ],
)
def test_statements_of_studies_that_show_nothing(tmp_path, study, expected):
    plan = write_study(tmp_path, study)
    [statement] = build_tables(Store(tmp_path).runs(), (), plan).statements
    assert statement.endswith(expected)
