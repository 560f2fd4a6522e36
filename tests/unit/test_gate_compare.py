"""From records and a baseline to answers."""

from __future__ import annotations

import numpy as np
import pytest

from bench.gate.compare import compare
from bench.gate.measures import accuracy, predictions_digest, robustness
from bench.records import Store
from tests.golden.tables.example_records import make_spec, write_metrics, write_robustness
from tests.unit.gate_examples import (
    candidate_of,
    entry_of,
    rerun,
    run_of,
    seeds_of,
    top1_of,
    without_predictions,
)

NORMAL = np.random.default_rng(3).normal(0, 1, 10)
BEFORE = (0.9 + 0.002 * (NORMAL - NORMAL.mean()) / NORMAL.std(ddof=1)).tolist()
"""Ten seeds, mean 90 %, spread 0.2 points."""
ERM = make_spec("erm")


def test_equal_predictions_of_a_seed_pass_whatever_the_numbers(tmp_path):
    record = run_of(tmp_path, ERM, 0.5, [1, 2, 3])
    entry = entry_of(ERM, BEFORE, [predictions_digest(record)] + [""] * 9)
    ((row,), mean) = compare([entry], [candidate_of([ERM], [record])], top1_of, 0.5)
    assert (row.verdict, row.n_after, mean) == ("pass", 1, None)
    assert "identical" in row.reason


@pytest.mark.parametrize("change", ["one image", "no predictions", "second seed differs"])
def test_anything_but_equality_is_left_to_the_numbers(tmp_path, change):
    specs = seeds_of("erm", [0, 1])
    records = [run_of(tmp_path, spec, 0.5, [1, 2, 3]) for spec in specs]
    equality = [predictions_digest(record) for record in records] + [""] * 8
    if change == "one image":
        records = [run_of(tmp_path / "other", specs[0], 0.5, [1, 2, 4])]
    elif change == "no predictions":
        records = [without_predictions(records[0])]
    else:
        equality[1] = "0" * 16
    ((row,), _) = compare(
        [entry_of(ERM, BEFORE, equality)], [candidate_of(specs[: len(records)], records)], top1_of, 0.5
    )
    assert row.verdict == "regression"


def test_the_digest_counts_classes_not_bytes(tmp_path):
    one, two = (run_of(tmp_path / name, ERM, 0.5, [1, 2, 3]) for name in "ab")
    np.savez(two.folder / "predictions.npz", top1=np.array([1, 2, 3], dtype=np.uint16))
    assert predictions_digest(one) == predictions_digest(two) != ""
    (two.folder / "predictions.npz").write_bytes(b"damaged")
    assert predictions_digest(two) == ""


def test_verdicts_by_numbers(tmp_path):
    """Baseline spread 0.2 points: a drop of 0 passes, of 4 regresses, of 0.45 at a margin of 0.8 wants more."""
    mean = float(np.mean(BEFORE))
    for drop, verdict, wanted in ((0.0, "pass", 0), (0.04, "regression", 0), (0.0045, "inconclusive", 3)):
        candidate = rerun(tmp_path / str(drop), [make_spec("erm", 77)], [mean - drop])
        ((row,), _) = compare([entry_of(ERM, BEFORE)], [candidate], top1_of, 0.8)
        assert (row.verdict, row.wanted, row.n_before, row.n_after) == (verdict, wanted, 10, 1)
        assert row.change == pytest.approx(-100 * drop)
        assert row.before == pytest.approx(100 * mean)


def test_a_failed_run_is_missing_with_its_reason_and_ends_the_row_s_seeds(tmp_path):
    specs = seeds_of("erm", [50, 51, 52])
    candidate = candidate_of(specs, [None] * 3, why="diverged: loss is nan")
    ((row,), _) = compare([entry_of(ERM, BEFORE)], [candidate], top1_of, 0.5)
    assert (row.verdict, row.reason, row.wanted) == ("missing", "seed 50: diverged: loss is nan", 1)
    records = [run_of(tmp_path, specs[0], 0.8955), None, run_of(tmp_path, specs[2], 0.1)]
    ((row,), _) = compare([entry_of(ERM, BEFORE)], [candidate_of(specs, records)], top1_of, 0.5)
    assert (row.verdict, row.n_after, row.reason) == ("inconclusive", 1, "3 seeds are needed; seed 51: no record")


def test_other_settings_other_rows_and_absent_rows(tmp_path):
    longer = make_spec("erm", epochs=7)
    entries = [entry_of(ERM, BEFORE), entry_of(make_spec("mixup"), BEFORE)]
    candidates = [rerun(tmp_path, [longer], [0.9]), rerun(tmp_path, [make_spec("cutmix")], [0.9])]
    skipped = candidate_of([make_spec("alignmix")], [None], why="skipped: no map")
    rows, _ = compare(entries, [*candidates, skipped], top1_of, 0.5)
    assert [(row.method, row.verdict) for row in rows] == [
        ("erm", "not comparable"), ("mixup", "missing"), ("erm", "not comparable"), ("cutmix", "not comparable"),
    ]  # fmt: skip
    assert rows[0].reason == "protocol.epochs 2 -> 7"


def test_a_small_drop_everywhere_fails_by_the_mean_alone(tmp_path):
    generator = np.random.default_rng(8)
    methods = [f"m{place}" for place in range(12)]
    values = generator.normal(0.9, 0.002, (12, 10)).round(4)
    entries = [entry_of(make_spec(method), row.tolist()) for method, row in zip(methods, values, strict=True)]
    candidates = [
        rerun(tmp_path, [make_spec(method, 30)], [row.mean() - 0.004])
        for method, row in zip(methods, values, strict=True)
    ]
    rows, mean = compare(entries, candidates, top1_of, 1.0)
    assert {row.verdict for row in rows} <= {"pass", "inconclusive"}
    assert mean is not None
    assert (mean.verdict, mean.change) == ("regression", pytest.approx(-0.4))


def robust(tmp_path, seeds, top1, **options):
    found = []
    for seed in seeds:
        run_of(tmp_path, make_spec("erm", seed), top1)
        folder = Store(tmp_path).run(make_spec("erm", seed).run_id).folder
        write_robustness(folder, top1 + 0.001 * seed, **options)
        found.append(Store(tmp_path).run(make_spec("erm", seed).run_id))
    return found


def test_robustness_is_the_mean_over_what_was_measured(tmp_path):
    (record,) = robust(tmp_path, [0], 0.8)
    write_metrics(record.folder, "adversarial", "x", [("square_top1", None, {}), ("attack_clean_top1", 0.8, {})])
    found = {measure.name: measure for measure in robustness(record)}
    assert set(found) == {"digits-corruptions corruption_top1", "fgsm fgsm_top1"}
    assert found["digits-corruptions corruption_top1"].value == pytest.approx(0.8 - 0.15 - 0.025)
    assert found["fgsm fgsm_top1"].value == pytest.approx((0.8 / 2 + 0.8 / 5) / 2)
    assert accuracy(record).value == 0.8


@pytest.mark.parametrize(
    ("options", "evals", "unfinished", "verdict", "told"),
    [
        ({}, ["fgsm", "digits-corruptions"], [], "pass", "identical"),
        ({"digest": "d2"}, ["digits-corruptions"], [], "not comparable", "version or settings"),
        ({"severities": (1,)}, ["digits-corruptions"], [], "not comparable", "other corruptions"),
        ({}, ["digits-corruptions"], ["digits-corruptions"], "missing", "made by other code"),
        ({}, ["fgsm"], [], "missing", "does not evaluate"),
    ],
)
def test_evaluations_count_only_where_they_are_the_same(tmp_path, options, evals, unfinished, verdict, told):
    before = [measure for record in robust(tmp_path / "a", [0, 1, 2], 0.8) for measure in robustness(record)]
    name = "digits-corruptions corruption_top1"
    own = [measure for measure in before if measure.name == name]
    entry = entry_of(
        ERM, [measure.value for measure in own], [measure.equality for measure in own],
        measure=name, points=own[0].points, evaluator="",
    )  # fmt: skip
    (record,) = robust(tmp_path / "b", [0], 0.8, **options)
    entry = entry.model_copy(update={"evaluator": own[0].evaluator})
    candidate = candidate_of([ERM], [record], evals=evals, unfinished=unfinished)
    ((row,), _) = compare([entry], [candidate], robustness, 1.0)
    assert row.verdict == verdict
    assert told in row.reason
