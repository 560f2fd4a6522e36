from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

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


@pytest.mark.parametrize("difference", [{"hardware": "NVIDIA H200"}, {"precision": "bf16"}, {"torch": "2.7.0"}])
def test_hardware_precision_and_torch_are_never_merged_but_have_a_block_each(tmp_path, difference):
    write_session(tmp_path, [(ERM, [1.0] * 3), (MIXUP, [2.0] * 3)])
    write_session(tmp_path, [(ERM, [1.0]), (MIXUP, [5.0])], name=LATER, **difference)
    table = throughput(tmp_path)
    ((name, value),) = difference.items()
    (first, old), (second, new) = table.blocks()
    assert [(row["rounds"], row["ratio"]) for row in old] == [(3, 1.0), (3, 2.0)]
    assert [(row["rounds"], row["ratio"]) for row in new] == [(1, 1.0), (1, 5.0), (0, None)]
    assert (old[1][name], new[1][name]) == (
        {"hardware": "Example CPU, 2 thread(s)", "precision": "fp32", "torch": "2.6.0"}[name],
        value,
    )
    assert value in second
    assert value not in first
    assert sum(": timed on" in note for note in table.notes) == 2


def test_the_leaderboard_takes_the_machine_with_the_newest_session(tmp_path):
    write_session(tmp_path, [(ERM, [1.0]), (MIXUP, [2.0])], hardware="Zeta CPU")
    write_session(tmp_path, [(ERM, [1.0]), (MIXUP, [5.0])], name=LATER, hardware="Alpha GPU")
    board = build_tables([], Store(tmp_path).sessions(), [ERM, MIXUP]).leaderboard
    assert board.rows[1]["ratio"] == 5.0


def sessions_of_processes(root, medians, twin=None):
    """A session each of six rounds, whose ratios have the given median; the twin's ratios likewise."""
    for place, middle in enumerate(medians):
        spread = [0.5, 0.9, 1.0, 1.0, 1.1, 3.0]
        write_session(
            root, [(ERM, [2.0] * 6), (MIXUP, [2.0 * middle * one for one in spread])],
            name=f"20260202T00000{place}.000000Z-00000002",
            twin=[2.0 * twin[place]] * 6 if twin else None,
        )  # fmt: skip


def test_from_five_processes_on_the_interval_is_over_processes(tmp_path):
    medians = [1.9, 2.0, 2.1, 2.2, 2.05]
    sessions_of_processes(tmp_path / "five", medians)
    row = throughput(tmp_path / "five").rows[1]
    logs = np.log(medians)
    reach = stats.t.ppf(0.975, 4) * logs.std(ddof=1) / np.sqrt(5)
    assert row["ratio"] == pytest.approx(np.exp(logs.mean()))
    assert (row["ratio_low"], row["ratio_high"]) == pytest.approx(
        (np.exp(logs.mean() - reach), np.exp(logs.mean() + reach))
    )
    assert (row["processes"], row["rounds"]) == (5, 30)
    sessions_of_processes(tmp_path / "four", medians[:4])
    four = throughput(tmp_path / "four").rows[1]
    pooled = np.sort(np.outer(medians[:4], [0.5, 0.9, 1.0, 1.0, 1.1, 3.0]).ravel())
    assert four["ratio"] == pytest.approx(np.median(pooled))
    inside = pooled[int(stats.binom.ppf(0.025, 24, 0.5)) - 1]
    assert four["ratio_low"] == pytest.approx(inside)


def test_an_a_a_pair_gives_the_noise_floor_and_marks_what_is_below_it(tmp_path):
    again = [0.97, 1.03, 0.99, 1.01, 1.02, 0.98, 1.0, 1.04, 0.96]
    write_session(tmp_path, [(ERM, [1.0] * 9), (MIXUP, [1.02] * 9), (CUTMIX, [1.05] * 9)], twin=again)
    table = throughput(tmp_path)
    ordered = np.sort(again)
    wanted = 100 * max(1 - ordered[1], ordered[-2] - 1)
    assert [row["noise"] for row in table.rows] == pytest.approx([wanted] * 3)
    shown = next(field for field in table.fields if field.heading.startswith("time"))
    assert [shown.text(row) for row in table.rows] == [
        "reference", "1.02 [1.02, 1.02] ~", "1.05 [1.05, 1.05]",
    ]  # fmt: skip
    assert any(f"below {wanted:.1f} % are noise" in note for note in table.notes)
    assert all(row["method"] in ("erm", "mixup", "cutmix") for row in table.rows)


def test_the_noise_floor_of_processes_is_over_processes(tmp_path):
    twin = [1.1, 1.0, 0.95, 1.02, 1.07]
    sessions_of_processes(tmp_path, [2.0] * 5, twin)
    logs = np.log(twin)
    reach = stats.t.ppf(0.975, 4) * logs.std(ddof=1) / np.sqrt(5)
    wanted = 100 * max(1 - np.exp(logs.mean() - reach), np.exp(logs.mean() + reach) - 1)
    assert throughput(tmp_path).rows[1]["noise"] == pytest.approx(wanted)


def test_without_an_a_a_pair_nothing_is_called_noise(tmp_path):
    write_session(tmp_path, [(ERM, [1.0] * 6), (MIXUP, [1.0] * 6)])
    table = throughput(tmp_path)
    assert {row["noise"] for row in table.rows} == {None}
    assert not any("noise" in note for note in table.notes)


def test_a_warm_up_that_never_got_steady_is_told(tmp_path):
    write_session(tmp_path, [(ERM, [1.0]), (MIXUP, [2.0])], warm_up={"steps": 3, "seconds": [3, 2, 1], "steady": False})
    assert throughput(tmp_path).rows[1]["footnotes"] == "step times still changed at the end of the warm-up"


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
