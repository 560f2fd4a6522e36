from __future__ import annotations

import io

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bench.records import Store
from bench.report import build_tables, print_tables, write_tables
from tests.golden.tables.example_records import make_spec, write_run
from tests.golden.tables.robust_records import (
    EXTRA,
    STANDARD,
    accuracy_of,
    adversarial_lines,
    calibration_lines,
    corruption_lines,
    ood_lines,
    write_arm,
    write_everything,
    write_robust_study,
)

METHODS = {"erm": [0.80, 0.82, 0.79], "mixup": [0.81, 0.84, 0.82], "augmix": [0.80, 0.81, 0.80]}
GROUPS = {"noise": (0, 3), "blur": (3, 7), "weather": (7, 11), "digital": (11, 15)}


def tables_of(root, plan=None):
    store = Store(root)
    return build_tables(store.runs(), store.sessions(), plan)


def row_of(table, method="erm"):
    return next(row for row in table.rows if row["method"] == method)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    root = tmp_path_factory.mktemp("full")
    return tables_of(root, write_robust_study(root, METHODS))


def one_run(root, method="erm", seed=0, top1=0.8, **arms):
    folder = write_run(root, make_spec(method, seed), top1)
    for arm, lines in arms.items():
        write_arm(folder, arm.replace("_", "-"), lines)
    return folder


def test_means_against_a_slow_loop(full):
    from tests.golden.tables.robust_records import STRENGTH

    for method, seeds in METHODS.items():
        row = row_of(full.robustness, method)
        grids = np.array(
            [
                [[accuracy_of(top1, name, s, STRENGTH[method]) for s in range(1, 6)] for name in STANDARD]
                for top1 in seeds
            ]
        )
        by_seed = grids.mean(axis=(1, 2)) * 100
        interval = scipy_stats.ttest_1samp(by_seed, 0).confidence_interval()
        assert row["corruption_mean"] == pytest.approx(by_seed.mean())
        assert (row["corruption_mean_low"], row["corruption_mean_high"]) == pytest.approx(tuple(interval))
        assert row["corruption_error_unnormalised"] == pytest.approx(100 - by_seed.mean())
        for family, (start, end) in GROUPS.items():
            assert row[f"corruption_family_{family}"] == pytest.approx(grids[:, start:end].mean() * 100)
        extra = np.mean([[accuracy_of(top1, name, s) for name in EXTRA for s in range(1, 6)] for top1 in seeds]) * 100
        assert row["corruption_extra_mean"] == pytest.approx(extra)
        single = row_of(full.detail("robustness-corruptions"), method)
        for place, name in enumerate(STANDARD):
            assert single[f"corruption_{name}"] == pytest.approx(grids[:, place].mean() * 100)
        [fog] = [
            line
            for line in full.detail("robustness-severities").rows
            if (line["method"], line["corruption"]) == (method, "fog")
        ]
        assert [fog[f"severity_{s}"] for s in range(1, 6)] == pytest.approx(grids[:, 9].mean(axis=0) * 100)
        assert (fog["counted"], fog["source"], fog["evaluator"]) == ("yes", "regenerated, seed 0", "corruptions")


def test_extra_corruptions_enter_no_other_mean(tmp_path):
    """Whatever the extra four are, the mean over the 15, the families and the error stay."""
    found = []
    for place, extra in enumerate((0.1, 0.99)):
        lines = [
            (name, extra if name.startswith("extra") else value, detail)
            for name, value, detail in corruption_lines(0.8)
        ]
        one_run(tmp_path / str(place), corruptions=lines)
        found.append(row_of(tables_of(tmp_path / str(place)).robustness))
    low, high = found
    changed = {name for name in low if low[name] != high[name]}
    assert changed == {"corruption_extra_mean"}


def test_one_corruption_moves_its_family_by_its_share_of_it(tmp_path):
    found = []
    for place, lift in enumerate((0.0, 0.1)):
        lines = [
            (name, value + lift * (detail["corruption"] == "zoom_blur"), detail)
            for name, value, detail in corruption_lines(0.8)
        ]
        one_run(tmp_path / str(place), corruptions=lines)
        found.append(row_of(tables_of(tmp_path / str(place)).robustness))
    moved = {name: found[1][name] - found[0][name] for name in found[0] if isinstance(found[0][name], float)}
    moved = {name: value for name, value in moved.items() if abs(value) > 1e-9}
    assert moved == pytest.approx(
        {"corruption_mean": 10 / 15, "corruption_family_blur": 10 / 4, "corruption_error_unnormalised": -10 / 15}
    )


def test_a_run_that_lacks_a_severity_is_in_no_mean_over_severities(tmp_path):
    one_run(tmp_path, seed=0, corruptions=corruption_lines(0.8))
    one_run(tmp_path, seed=1, corruptions=corruption_lines(0.9, severities=(1, 2, 3, 4)))
    found = tables_of(tmp_path)
    row, alone = row_of(found.robustness), accuracy_of(0.8, "fog", 3)
    assert row["corruption_runs"] == 1
    assert row["remarks"] == "corruption: 1 of 2 ok runs measured"
    assert row_of(found.detail("robustness-corruptions"))["corruption_fog"] == pytest.approx(alone * 100)
    [fog] = [line for line in found.detail("robustness-severities").rows if line["corruption"] == "fog"]
    both = (accuracy_of(0.8, "fog", 1) + accuracy_of(0.9, "fog", 1)) / 2
    assert fog["severity_1"] == pytest.approx(both * 100)
    assert fog["severity_5"] == pytest.approx(accuracy_of(0.8, "fog", 5) * 100)


def test_an_evaluation_that_every_run_left_unfinished_has_no_mean(tmp_path):
    """The settings tell what was planned: without them the first ten corruptions would look like the whole."""
    settings = {"corruptions": [*STANDARD, *EXTRA], "severities": [1, 2, 3, 4, 5]}
    folder = write_run(tmp_path, make_spec("erm", 0), 0.8)
    write_arm(folder, "corruptions", corruption_lines(0.8)[: 10 * 5], settings=settings)
    found = tables_of(tmp_path)
    columns = [column.name for column in found.robustness.columns if not column.detail]
    assert [name for name in columns if name.startswith("corruption_")] == [
        "corruption_runs", "corruption_family_noise", "corruption_family_blur",
    ]  # fmt: skip
    assert row_of(found.detail("robustness-corruptions"))["corruption_fog"] is not None
    assert "corruption_mean" not in row_of(found.detail("robustness-corruptions"))
    assert found.leaderboard.rows[0]["corruption_mean"] is None
    folder = write_run(tmp_path, make_spec("erm", 1), 0.8)
    write_arm(folder, "corruptions", corruption_lines(0.8), settings=settings)
    assert row_of(tables_of(tmp_path).robustness)["corruption_runs"] == 1


@pytest.mark.parametrize("which", ["digest", "source"])
def test_two_settings_or_sources_of_one_evaluator_never_share_a_column(tmp_path, which):
    for seed, digest in enumerate(("new", "new", "old")):
        folder = write_run(tmp_path, make_spec("erm", seed), 0.8)
        top1 = 0.8 if digest == "new" else 0.1
        arms = {
            "corruptions": corruption_lines(top1), "adversarial": adversarial_lines(top1), "ood": ood_lines(top1),
            "calibration": calibration_lines(top1),
        }  # fmt: skip
        for arm, lines in arms.items():
            write_arm(folder, arm, lines, **{which: digest})
    found = tables_of(tmp_path)
    row = row_of(found.robustness)
    assert row["apgd_linf_0.5"] == pytest.approx(67.5)
    assert row["auroc_msp_near"] == pytest.approx(80)
    assert [row[f"{arm}_runs"] for arm in ("corruption", "adversarial", "ood", "calibration")] == [2] * 4
    assert row_of(found.detail("robustness-calibration"))["nll"] == pytest.approx(0.2)
    assert "1 run(s) made with other settings or code left out" in found.robustness.notes[-1]


def test_two_arms_of_one_attack_get_columns_of_their_own(tmp_path):
    one_run(tmp_path, adversarial=adversarial_lines(0.8), adversarial_small=adversarial_lines(0.7))
    row = row_of(tables_of(tmp_path).detail("robustness-adversarial"))
    assert "apgd_linf_1" not in row
    assert row["adversarial_apgd_linf_1"] == pytest.approx(55)
    assert row["adversarial-small_apgd_linf_1"] == pytest.approx(45)
    assert row["adversarial-small_ce_minus_worst_case_linf"] == pytest.approx(1)


def test_attack_columns(full):
    row = row_of(full.detail("robustness-adversarial"), "mixup")
    top1 = np.mean(METHODS["mixup"])
    for size in (0.5, 1, 2):
        worst = top1 - size / 4
        assert row[f"apgd_linf_{size:g}"] == pytest.approx(worst * 100)
        assert row[f"fgsm_linf_{size:g}"] == pytest.approx((worst + 0.17) * 100)
        assert row[f"random_noise_linf_{size:g}"] == pytest.approx((top1 - 0.001 * size) * 100)
    assert row["apgd_linf_0"] == row["apgd_l2_0"] == pytest.approx(top1 * 100)
    assert row["ce_minus_worst_case_linf"] == pytest.approx(1)
    assert row["masking_zero_gradient_linf"] == pytest.approx(1.23)
    assert row["check_monotone_linf"] == "passed"
    assert row["check_pgd_below_fgsm_linf"] == "FAILED in 3 of 3 runs"
    assert row["check_transfer_from_erm_linf"] is None
    summary = row_of(full.robustness, "mixup")
    assert (summary["masking_checks_passed"], summary["masking_checks_measured"]) == (2, 4)
    assert "apgd_ce_linf_1" not in summary
    assert summary["perturbation_median_linf"] == pytest.approx(1.5)
    notes = full.detail("robustness-adversarial").notes
    assert notes[:2] == [
        "Mixers are regularisers, not defences; there is no adversarial training here.",
        "adversarial, settings: steps 100.",
    ]


def attacked(clean, fgsm, apgd, size=2.0):
    return [
        ("attack_clean_top1", clean, {}),
        ("attack_top1", fgsm, {"attack": "fgsm", "norm": "linf", "eps": size}),
        ("attack_top1", apgd, {"attack": "apgd", "norm": "linf", "eps": size}),
    ]


def masking_lines(root, base, method, extra=()):
    """base, method: (FGSM, APGD) accuracy of each seed."""
    for name, values in (("erm", base), ("mixup", method)):
        for seed, (fgsm, apgd) in enumerate(values):
            folder = one_run(root, name, seed, adversarial=attacked(0.8, fgsm, apgd))
            for attack, accuracies in extra:
                value = accuracies[name]
                write_arm(folder, attack, [("attack_top1", value, {"attack": attack, "norm": "linf", "eps": 2.0})])
    notes = tables_of(root).detail("robustness-adversarial").notes
    return [note.partition(": ")[2] for note in notes if "strongest attack" in note]


def test_a_gain_that_the_strongest_attack_removes_is_called_masking(tmp_path):
    assert masking_lines(tmp_path, [(0.30, 0.1), (0.31, 0.1)], [(0.335, 0.1), (0.345, 0.1)]) == [
        "fgsm at 2/255 shows +3.5 points for mixup over erm; the strongest attack (apgd, 10.0 % of erm's images hold) "
        "shows +0.0: gradient masking, not robustness."
    ]


def test_a_gain_that_survives_or_is_chance_is_not(tmp_path):
    kept = masking_lines(tmp_path / "kept", [(0.30, 0.1), (0.31, 0.1)], [(0.335, 0.13), (0.345, 0.13)])
    chance = masking_lines(tmp_path / "chance", [(0.30, 0.1), (0.40, 0.1)], [(0.40, 0.1), (0.31, 0.1)])
    loss = masking_lines(tmp_path / "loss", [(0.40, 0.1), (0.41, 0.1)], [(0.30, 0.1), (0.31, 0.1)])
    assert kept == chance == loss == []


def test_autoattack_is_believed_before_apgd(tmp_path):
    extra = [("autoattack", {"erm": 0.08, "mixup": 0.08})]
    [note] = masking_lines(tmp_path, [(0.30, 0.1)] * 2, [(0.335, 0.13)] * 2, extra)
    assert "the strongest attack (autoattack, 8.0 % of erm's images hold) shows +0.0" in note


def test_most_of_a_gain_lost_is_told_without_a_verdict(tmp_path):
    [note] = masking_lines(tmp_path, [(0.30, 0.10)], [(0.40, 0.11)])
    assert note.endswith("(apgd, 10.0 % of erm's images hold) leaves +1.0 of it.")


def test_the_legacy_arm_is_held_against_apgd_too(tmp_path):
    for name, fgsm in (("erm", 0.3), ("mixup", 0.4)):
        one_run(
            tmp_path, name, fgsm=[("fgsm_top1", fgsm, {"eps_255": 2.0})], adversarial=adversarial_lines(0.8)
        )  # fmt: skip
    notes = tables_of(tmp_path).detail("robustness-adversarial").notes
    assert sum("fgsm at 2/255 shows +10.0 points for mixup over erm" in note for note in notes) == 0
    for name, fgsm in (("erm", 0.3), ("mixup", 0.4)):
        lines = [line for line in adversarial_lines(0.8) if line[2].get("attack") != "fgsm"]
        one_run(tmp_path / "b", name, fgsm=[("fgsm_top1", fgsm, {"eps_255": 2.0})], adversarial=lines)
    notes = tables_of(tmp_path / "b").detail("robustness-adversarial").notes
    assert sum("fgsm at 2/255 shows +10.0 points for mixup over erm" in note for note in notes) == 1


def test_calibration_columns_and_a_missing_validation_split(full, tmp_path):
    row = row_of(full.detail("robustness-calibration"))
    assert (row["ece_15"], row["ece_15_scaled"], row["ece_15_floor"]) == pytest.approx((12, 2, 1))
    assert row["temperature"] == pytest.approx(0.7)
    assert row["risk_at_coverage_0.3"] == pytest.approx((1 - np.mean(METHODS["erm"])) * 30)
    one_run(tmp_path, calibration=calibration_lines(0.8, scaled=False))
    found = tables_of(tmp_path)
    table = found.detail("robustness-calibration")
    row = row_of(table)
    assert row["ece_15"] == pytest.approx(12)
    assert row["remarks"] == ""
    assert not any(name.endswith("_scaled") for name in row)
    assert "After temperature scaling: not measured, there was no validation split." in table.notes
    assert [line["accuracy_scaled"] for line in found.detail("robustness-reliability").rows] == [None] * 15


def test_clean_calibration_numbers_are_not_taken_for_those_of_the_calibration_arm(tmp_path):
    from tests.golden.tables.example_records import write_clean

    write_clean(write_run(tmp_path, make_spec("erm", 0), 0.8), 0.8)
    assert tables_of(tmp_path).detail("robustness-calibration") is None


def test_reliability_bins_pool_images_of_all_runs(tmp_path):
    generator = np.random.default_rng(4)
    runs = [(generator.uniform(0.2, 1, 60).round(3), generator.random(60)) for _ in range(2)]
    hits = [(draw < certain).astype(float) for certain, draw in runs]
    edges = np.linspace(0, 1, 16)
    for seed, ((certain, _), hit) in enumerate(zip(runs, hits, strict=True)):
        lines = []
        for place in range(15):
            inside = (certain > edges[place]) & (certain <= edges[place + 1])
            detail = {"bin": place, "scaled": False}
            means = [float(values[inside].mean()) if inside.any() else None for values in (hit, certain)]
            lines += [
                ("reliability_share", float(inside.mean()), detail), ("reliability_accuracy", means[0], detail),
                ("reliability_confidence", means[1], detail),
            ]  # fmt: skip
        one_run(tmp_path, seed=seed, calibration=lines)
    certain, hit = np.concatenate([certain for certain, _ in runs]), np.concatenate(hits)
    rows = tables_of(tmp_path).detail("robustness-reliability").rows
    assert [row["bin"] for row in rows] == list(range(15))
    for row in rows:
        inside = (certain > edges[row["bin"]]) & (certain <= edges[row["bin"] + 1])
        assert row["share"] == pytest.approx(inside.mean() * 100)
        expected = [values[inside].mean() * 100 if inside.any() else None for values in (hit, certain)]
        assert [row["accuracy"], row["confidence"]] == pytest.approx(expected)


def test_ood_shift_and_feature_columns(full):
    top1 = np.mean(METHODS["erm"]) * 100
    ood = row_of(full.detail("robustness-ood"))
    assert ood["auroc_msp_near"] == ood["auroc_msp_near_held_out"] == pytest.approx(top1)
    assert ood["auroc_energy_far"] == pytest.approx(top1 - 5 + 1)
    assert ood["fpr95_max_logit_far_textures"] == pytest.approx((top1 - 10 + 2) * 0.7)
    assert full.detail("robustness-ood").notes[0].startswith("Out-of-distribution images are the positive class.")
    shift = row_of(full.detail("robustness-shift"))
    assert shift["occlusion_0.3"] == pytest.approx(top1 * 0.7)
    assert shift["consistency_mean"] == pytest.approx((98 + 96 + 92) / 3)
    assert (shift["shifted_imagenet-r"], shift["shifted_imagenet-r_images"]) == pytest.approx((top1 / 2, 30000))
    features = row_of(full.detail("robustness-features"))
    assert features["feature_distance_ratio"] == pytest.approx(0.5)
    assert features["manifold_intrusion"] == pytest.approx(20)
    assert features["localisation_0.5"] == pytest.approx(top1 - 50)
    assert "alignment_effect_to_first" not in features


def test_a_number_that_only_some_methods_have(tmp_path):
    for method in ("erm", "alignmix"):
        write_everything(write_run(tmp_path, make_spec(method, 0), 0.8), method, 0.8)
    table = tables_of(tmp_path).detail("robustness-features")
    assert row_of(table, "alignmix")["alignment_effect_to_first"] == pytest.approx(0.02)
    assert row_of(table)["alignment_effect_to_first"] is None
    assert row_of(table)["alignment_runs"] == 1


def test_mce_columns(tmp_path):
    lines = corruption_lines(0.6, source="files")
    source = {"source": "files"}
    lines += [("mce", 0.7, source), ("relative_mce", 0.9, source)]
    lines.append(("corruption_error_relative_to_alexnet", 0.5, {"corruption": "fog", **source}))
    one_run(tmp_path, corruptions=lines)
    found = tables_of(tmp_path)
    row = row_of(found.robustness)
    assert (row["corruption_mce"], row["corruption_relative_mce"]) == pytest.approx((70, 90))
    assert row_of(found.detail("robustness-corruptions"))["corruption_ce_fog"] == pytest.approx(50)
    assert any("images from files" in note for note in found.detail("robustness-corruptions").notes)


def test_only_what_was_measured_is_written(tmp_path):
    one_run(tmp_path / "records", ood=ood_lines(0.8))
    paths = write_tables(tables_of(tmp_path / "records"), tmp_path / "out")
    assert [path.name for path in paths if path.name.startswith("robustness")] == [
        "robustness.csv", "robustness-ood.csv",
    ]  # fmt: skip


def test_the_printed_summary_is_narrow(tmp_path):
    methods = ["erm", *(f"alignmix-with-a-long-variant-name-v{place}" for place in range(18)), "y" * 60]
    plan = write_robust_study(tmp_path, {name: [0.8] for name in methods})
    stream = io.StringIO()
    print_tables(tables_of(tmp_path, plan), stream)
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= 120
    summary = text[text.index("ROBUSTNESS") : text.index("THROUGHPUT")]
    assert all(heading in summary for heading in ("clean %", "corruption %", "noise %", "autoattack 1/255 %"))
    assert "SEVERITIES" not in text


def test_a_long_table_is_on_disk_only(full, tmp_path):
    page = write_tables(full, tmp_path)[-1].read_text()
    assert "## Robustness: accuracy under each corruption" in page
    assert "## Robustness: severities" not in page
    assert "- `severity_1`: top-1 at severity 1, %" in page
