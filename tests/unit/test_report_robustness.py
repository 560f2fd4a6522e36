from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bench.records import Store
from bench.report import build_tables
from tests.golden.tables.example_records import make_spec, write_metrics, write_robustness, write_run, write_study

VALUES = {"erm": [0.80, 0.83, 0.81], "mixup": [0.84, 0.85, 0.86]}


def tables(root, plan=None):
    return build_tables(Store(root).runs(), (), plan)


def test_columns_are_means_over_severities_then_over_corruptions(tmp_path):
    plan = write_study(tmp_path, VALUES)
    rows = tables(tmp_path, plan).robustness.rows
    for row, values in zip(rows, np.array(list(VALUES.values())), strict=True):
        noise = np.mean([values - 0.1, values - 0.2], axis=0) * 100
        blur = np.mean([values - 0.15, values - 0.25], axis=0) * 100
        attacked = {radius: values / (1 + radius) * 100 for radius in (1, 4)}
        expected = {
            "corruption_noise": noise,
            "corruption_blur": blur,
            "corruption_mean": (noise + blur) / 2,
            "fgsm_1": attacked[1],
            "fgsm_4": attacked[4],
            "fgsm_mean": (attacked[1] + attacked[4]) / 2,
        }
        for name, measured in expected.items():
            interval = scipy_stats.ttest_1samp(measured, 0).confidence_interval()
            assert row[name] == pytest.approx(measured.mean())
            assert (row[f"{name}_low"], row[f"{name}_high"]) == pytest.approx(tuple(interval))
        assert row["corruption_runs"] == 3
    erm, mixup = (np.array(values) for values in VALUES.values())
    expected = scipy_stats.ttest_rel(mixup, erm).confidence_interval()
    low, high = rows[1]["corruption_mean_difference_low"], rows[1]["corruption_mean_difference_high"]
    assert (low / 100, high / 100) == pytest.approx(tuple(expected))
    assert rows[0]["corruption_mean_difference"] is None


def test_a_run_with_a_condition_missing_does_not_enter_that_mean(tmp_path):
    plan = write_study(tmp_path, {"erm": [0.8, 0.8]})
    spec = make_spec("mixup", 0)
    write_robustness(write_run(tmp_path, spec, 0.9), 0.9)
    other = make_spec("mixup", 1)
    write_robustness(write_run(tmp_path, other, 0.2), 0.2, severities=(1,))
    row = tables(tmp_path, [*plan, spec, other]).robustness.rows[1]
    assert (row["n_ok"], row["corruption_runs"], row["fgsm_runs"]) == (2, 1, 2)
    assert row["corruption_noise"] == pytest.approx(75)
    assert row["footnotes"] == "corruption: 1 of 2 ok runs measured"


def test_numbers_made_with_other_settings_are_left_out(tmp_path):
    for seed, digest in enumerate(("new", "new", "old")):
        write_robustness(
            write_run(tmp_path, make_spec("erm", seed), 0.8), 0.8 if digest == "new" else 0.1, digest=digest
        )
    row = tables(tmp_path).robustness.rows[0]
    assert row["corruption_mean"] == pytest.approx(62.5)
    assert row["corruption_runs"] == 2


def test_two_evaluators_of_one_kind_get_columns_of_their_own(tmp_path):
    folder = write_run(tmp_path, make_spec("erm", 0), 0.8)
    for evaluator, value in (("own", 0.5), ("cifar-c", 0.3)):
        write_metrics(folder, evaluator, evaluator, [("corruption_top1", value, {"corruption": "fog", "severity": 1})])
    found = tables(tmp_path)
    row = found.robustness.rows[0]
    assert row["own_fog"] == pytest.approx(50)
    assert row["cifar-c_mean"] == pytest.approx(30)
    assert found.leaderboard.rows[0]["corruption_mean"] == pytest.approx(30)


def test_radii_are_ordered_as_numbers(tmp_path):
    folder = write_run(tmp_path, make_spec("erm", 0), 0.8)
    write_metrics(folder, "fgsm", "FGSM", [("fgsm_top1", 0.1, {"eps_255": radius}) for radius in (8.0, 0.5, 16.0, 2.0)])
    names = [column.name for column in tables(tmp_path).robustness.columns if not column.detail]
    assert [name for name in names if name.startswith("fgsm") and "difference" not in name] == [
        "fgsm_runs", "fgsm_mean", "fgsm_0.5", "fgsm_2", "fgsm_8", "fgsm_16",
    ]  # fmt: skip


def test_without_evaluations_the_table_says_so(tmp_path):
    write_run(tmp_path, make_spec("erm", 0), 0.8)
    found = tables(tmp_path)
    assert found.robustness.notes == ["Corrupted and attacked images: not measured."]
    assert found.leaderboard.rows[0]["corruption_mean"] is None
    assert found.leaderboard.rows[0]["fgsm_mean"] is None


def test_unequal_spreads_are_said(tmp_path):
    plan = write_study(tmp_path, {"erm": [0.8, 0.8001, 0.8002], "a": [0.81, 0.8101, 0.8103], "b": [0.5, 0.7, 0.9]})
    notes = tables(tmp_path, plan).robustness.notes
    [note] = [note for note in notes if "uses its own" in note]
    assert note.endswith(
        "seed spreads differ between methods, so each difference uses its own, in corruption_mean, "
        "corruption_blur, corruption_noise, fgsm_mean, fgsm_1, fgsm_4."
    )
