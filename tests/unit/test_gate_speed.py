"""Step time ratios against a baseline's."""

from __future__ import annotations

import numpy as np
import pytest

from bench.env import package_versions
from bench.gate.baseline import BaselineSession, SpeedEntry
from bench.gate.candidates import arm_spec
from bench.gate.speed import compare_speed
from bench.gate.step_times import limit_of, repeat_noise, rounds_needed, session_ratios, slowdown, twin_noise
from bench.records import RecordWriter, Store
from tests.golden.tables.example_records import make_spec
from tests.unit.gate_examples import SOURCE, candidate_of

ERM, MIXUP = make_spec("erm"), make_spec("mixup")
HERE = "Example CPU, 2 thread(s)"


def session(
    root, name, ratio, *, hardware=HERE, digest=SOURCE, packages=None, rounds=30, seed=0, status="ok", twin=None
):
    generator = np.random.default_rng(seed)
    path = root / "speed" / f"{name}.jsonl"
    with RecordWriter(path) as writer:
        writer.append(
            "begin", hardware=hardware, cell=ERM.cell, torch="2", source_digests={ERM.arm: SOURCE, MIXUP.arm: digest},
            provenance={"packages": packages or package_versions()},
        )  # fmt: skip
        again = f"{ERM.arm} (again)"
        if twin is not None:
            writer.append("arm", arm=again, label="erm (again)", twin_of=ERM.arm)
        for number in range(rounds):
            base = generator.lognormal(-4, 0.3)
            for spec, factor in ((ERM, 1.0), (MIXUP, ratio * generator.lognormal(0, 0.02))):
                writer.append("sample", arm=spec.arm, label="x", round=number, seconds=base * factor)
            if twin is not None:
                writer.append("sample", arm=again, label="erm (again)", round=number, seconds=base * twin)
        writer.append("end", status=status)


def entry(root, ratios=(1.5, 1.51, 1.49)):
    for place, ratio in enumerate(ratios):
        session(root, f"base-{place}", ratio, seed=place)
    sessions = tuple(
        BaselineSession(
            name=f"base-{place}", source_digest=SOURCE, ratios=tuple(session_ratios(found, MIXUP.arm, ERM.arm))
        )
        for place, found in enumerate(Store(root).sessions())
    )
    return SpeedEntry(
        labels=MIXUP.labels, arm=MIXUP.arm, spec=arm_spec(MIXUP), reference=ERM.arm, hardware=HERE, torch="2",
        sessions=sessions,
    )  # fmt: skip


def answer(root, stored):
    candidates = [candidate_of([spec], [None], reference=ERM.arm) for spec in (ERM, MIXUP)]
    (row,), _ = compare_speed([stored], candidates, Store(root).sessions())
    return row


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(1.5, "pass"), (1.4, "pass"), (1.75, "regression"), (1.6, "inconclusive")]
)
def test_verdicts(tmp_path, ratio, verdict):
    stored = entry(tmp_path)
    session(tmp_path, "new", ratio, seed=9)
    row = answer(tmp_path, stored)
    assert row.verdict == verdict
    assert row.change == pytest.approx(ratio / 1.5, rel=0.02)
    assert row.low < row.change < row.high
    assert (row.n_before, row.n_after) == (90, 30)


@pytest.mark.parametrize(
    ("options", "verdict", "told"),
    [
        ({"hardware": "NVIDIA H200"}, "not comparable", "NVIDIA H200"),
        ({"digest": "older"}, "missing", "no timing session"),
        ({"packages": {"torch": "1.0"}}, "missing", "no timing session"),
        ({"status": "error"}, "missing", "no timing session"),
        ({"rounds": 4}, "inconclusive", f"needs {rounds_needed(1)} rounds"),
    ],
)
def test_what_does_not_count(tmp_path, options, verdict, told):
    stored = entry(tmp_path)
    session(tmp_path, "new", 9.0, **options)
    row = answer(tmp_path, stored)
    assert (row.verdict, told in row.reason) == (verdict, True)


def test_the_baseline_s_own_sessions_are_never_new(tmp_path):
    row = answer(tmp_path, entry(tmp_path))
    assert (row.verdict, row.wanted) == ("missing", 1)


def test_an_a_a_pair_that_differs_widens_the_limit(tmp_path):
    stored = entry(tmp_path)
    session(tmp_path, "new", 1.75, seed=9)
    assert answer(tmp_path, stored).verdict == "regression"
    for place, twin in enumerate((1.08, 1 / 1.05, 1.1)):
        session(tmp_path, f"twin-{place}", 1.75, seed=20 + place, twin=twin)
    found = Store(tmp_path).sessions()
    expected = np.sqrt(np.mean(np.log([1.08, 1 / 1.05, 1.1]) ** 2))
    assert twin_noise(found) == pytest.approx(expected)
    assert twin_noise([one for one in found if not one.arms]) == 0.0
    assert 3 * expected > 1.75 / 1.5 - 1
    assert answer(tmp_path, stored).verdict != "regression"
    session(tmp_path, "elsewhere", 1.75, seed=30, twin=3.0, hardware="Another")
    candidates = [candidate_of([spec], [None], reference=ERM.arm) for spec in (ERM, MIXUP)]
    _, words = compare_speed([stored], candidates, Store(tmp_path).sessions())
    assert words == f"{300 * expected:.1f} % slower on {HERE}"


def test_noise_between_sessions_widens_the_limit(tmp_path):
    logs = np.log([[1.0, 1.1, 0.9], [2.0, 2.2, 2.1]])
    expected = np.sqrt(logs.var(axis=1, ddof=1).mean())
    noise = repeat_noise([[[1.0], [1.1], [0.9]], [[2.0], [2.2], [2.1]]])
    assert noise == pytest.approx(expected)
    assert (limit_of(noise), limit_of(0.0)) == (pytest.approx(3 * expected), 0.07)
    assert repeat_noise([[[1.0, 1.0, 1.2, 1.2]]]) == pytest.approx(np.std(np.log([1.0, 1.2]), ddof=1))
    stored = entry(tmp_path, (1.5, 1.7, 1.35))
    session(tmp_path, "new", 1.75, seed=9)
    assert answer(tmp_path, stored).verdict != "regression"


@pytest.mark.parametrize("rows", [1, 5])
def test_unchanged_code_is_rarely_shown_to_be_slower(rows):
    """Skewed rounds: the share of intervals above 1 stays below the stated error plus three Monte Carlo errors."""
    generator = np.random.default_rng(rows)
    count = 1500
    alarms = sum(
        (
            slowdown([generator.lognormal(0, 0.3, 30).tolist()], [generator.lognormal(0, 0.3, 30).tolist()], rows).low
            or 0
        )
        > 1
        for _ in range(count)
    )
    level = 0.05 / rows
    assert alarms / count <= level + 3 * np.sqrt(level * (1 - level) / count)
