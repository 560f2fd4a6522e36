from __future__ import annotations

import numpy as np
import pytest

from bench.errors import BadInput
from bench.records import Store
from bench.report import build_tables
from tests.golden.tables.example_records import make_spec, write_session

ERM, MIXUP, CUTMIX = (make_spec(method, 0) for method in ("erm", "mixup", "cutmix"))
LATER = "20260202T000000.000000Z-00000002"


def throughput(root, plan=(ERM, MIXUP, CUTMIX), **options):
    return build_tables([], Store(root).sessions(), list(plan), **options).throughput


def test_numbers_against_numpy(tmp_path):
    generator = np.random.default_rng(4)
    base = generator.lognormal(-4, 0.1, 9)
    other = base * generator.lognormal(0.3, 0.05, 9)
    write_session(tmp_path, [(ERM, base.tolist()), (MIXUP, other.tolist())])
    erm, mixup, cutmix = throughput(tmp_path).rows
    assert mixup["step_ms"] == pytest.approx(np.median(other) * 1000)
    assert mixup["step_ms_iqr"] == pytest.approx(np.subtract(*np.quantile(other, [0.75, 0.25])) * 1000)
    assert mixup["images_per_second"] == pytest.approx(25 / np.median(other))
    ratios = np.sort(other / base)
    assert mixup["ratio"] == pytest.approx(np.median(ratios))
    assert (mixup["ratio_low"], mixup["ratio_high"]) == pytest.approx((ratios[1], ratios[-2]))
    assert (mixup["rounds"], mixup["passes_per_step"], mixup["peak_memory_mib"]) == (9, 2.0, None)
    assert (erm["ratio"], erm["ratio_low"], erm["peak_memory_mib"]) == (1.0, None, 300.0)
    assert (mixup["hardware"], mixup["precision"], mixup["torch"], mixup["batch_size"]) == (
        "Example CPU, 2 thread(s)", "fp32", "2.6.0", 25,
    )  # fmt: skip
    assert (cutmix["step_ms"], cutmix["rounds"], cutmix["hardware"]) == (None, 0, None)


def test_five_rounds_give_a_ratio_without_an_interval(tmp_path):
    write_session(tmp_path, [(ERM, [1.0] * 5), (MIXUP, [2.0] * 5)])
    row = throughput(tmp_path).rows[1]
    assert (row["ratio"], row["ratio_low"]) == (2.0, None)


def test_rounds_of_several_sessions_join(tmp_path):
    write_session(tmp_path, [(ERM, [1.0, 1.0, 1.0]), (MIXUP, [2.0, 2.0, 2.0])])
    write_session(tmp_path, [(ERM, [2.0, 2.0, 2.0]), (MIXUP, [6.0, 6.0, 6.0])], name=LATER)
    row = throughput(tmp_path).rows[1]
    assert (row["rounds"], row["ratio"], row["ratio_low"], row["ratio_high"]) == (6, 2.5, 2.0, 3.0)


@pytest.mark.parametrize("difference", [{"hardware": "NVIDIA H200"}, {"precision": "bf16"}])
def test_what_was_timed_elsewhere_or_otherwise_is_refused(tmp_path, difference):
    write_session(tmp_path, [(ERM, [1.0]), (MIXUP, [2.0])])
    write_session(tmp_path, [(ERM, [1.0]), (MIXUP, [2.0])], name=LATER, **difference)
    with pytest.raises(
        BadInput, match=rf"^speed sessions of .* differ in {next(iter(difference))} and cannot"
    ) as caught:
        throughput(tmp_path)
    assert next(iter(difference.values())) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_newer_torch_replaces_an_older_one(tmp_path):
    write_session(tmp_path, [(ERM, [1.0]), (MIXUP, [2.0])])
    write_session(tmp_path, [(ERM, [1.0]), (MIXUP, [5.0])], name=LATER, torch="2.7.0")
    row = throughput(tmp_path).rows[1]
    assert (row["rounds"], row["ratio"], row["torch"]) == (1, 5.0, "2.7.0")


def test_a_session_over_fewer_methods_leaves_the_others_in_the_table(tmp_path):
    write_session(tmp_path, [(ERM, [1.0]), (MIXUP, [2.0])], digests={ERM.arm: "e", MIXUP.arm: "m"})
    write_session(tmp_path, [(ERM, [2.0])], name=LATER, digests={ERM.arm: "e"})
    row = throughput(tmp_path).rows[1]
    assert (row["rounds"], row["ratio"]) == (1, 2.0)


def test_one_machine_can_be_named(tmp_path):
    write_session(tmp_path, [(ERM, [1.0]), (MIXUP, [2.0])])
    write_session(tmp_path, [(ERM, [1.0]), (MIXUP, [4.0])], name=LATER, hardware="NVIDIA H200")
    assert throughput(tmp_path, hardware="h200").rows[1]["ratio"] == 4
    assert throughput(tmp_path, hardware="CPU").rows[1]["ratio"] == 2


def test_other_cells_may_be_timed_otherwise(tmp_path):
    far = make_spec("erm", 0, data="other")
    write_session(tmp_path, [(ERM, [1.0]), (MIXUP, [2.0])])
    write_session(tmp_path, [(far, [1.0])], name=LATER, hardware="NVIDIA H200", precision="bf16")
    rows = throughput(tmp_path, (ERM, MIXUP, far)).rows
    assert [row["hardware"] for row in rows] == ["Example CPU, 2 thread(s)"] * 2 + ["NVIDIA H200"]


def test_a_session_of_newer_code_replaces_older_ones(tmp_path):
    write_session(tmp_path, [(ERM, [1.0]), (MIXUP, [2.0])], digests={MIXUP.arm: "old"}, hardware="elsewhere")
    write_session(tmp_path, [(ERM, [1.0]), (MIXUP, [3.0])], digests={MIXUP.arm: "new"}, name=LATER)
    row = throughput(tmp_path).rows[1]
    assert (row["ratio"], row["rounds"]) == (3, 1)


def test_unfinished_and_skipped(tmp_path):
    write_session(tmp_path, [(ERM, [1.0]), (MIXUP, [9.0])], status=None, name=LATER)
    write_session(tmp_path, [(ERM, [1.0]), (MIXUP, [2.0])], skipped=[(CUTMIX, "no  grid\nhere")])
    _, mixup, cutmix = throughput(tmp_path).rows
    assert mixup["ratio"] == 2
    assert cutmix["footnotes"] == "skipped: no grid here"


def test_strange_samples_are_ignored(tmp_path):
    write_session(tmp_path, [(ERM, [1.0, float("nan"), 0.0]), (MIXUP, [2.0, 2.0, 2.0])])
    erm, mixup, _ = throughput(tmp_path).rows
    assert (erm["rounds"], mixup["rounds"], mixup["ratio"]) == (1, 3, 2.0)


def test_without_a_base_there_are_times_but_no_ratios(tmp_path):
    write_session(tmp_path, [(MIXUP, [2.0] * 6)])
    row = throughput(tmp_path, [MIXUP]).rows[0]
    assert row["step_ms"] == 2000
    assert row["ratio"] is None
