"""Equal compute: epochs and schedules fitted before the start, on boards of their own."""

from __future__ import annotations

import csv
import io
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest

from bench.cli.cost_file import write_cost
from bench.config.compute_budget import fit_schedule, read_cost
from bench.config.overrides import parse_set_options
from bench.config.suite import Suite, load_suite
from bench.errors import BadInput
from bench.records import RecordWriter, Store
from bench.report import build_tables
from bench.report.study import arrange
from bench.spec import ProtocolSpec
from bench.train.schedule import learning_rate
from tests.unit.tuning_cases import recorded, write_configs

COST = """
title: step times
hardware: H200
torch: "2.11"
reference: erm
cells:
  - data: digits
    backbone: tiny
    protocol: short
    batch_size: 10
    precision: fp32
    rounds: 30
    ratios: {erm: 1.0, mixup: 1.04, mixup-strong: 40.0, cutmix: 2.5}
"""


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    folder = write_configs(tmp_path / "configs")
    (folder / "cost").mkdir()
    (folder / "cost" / "here.yaml").write_text(COST)
    suite = (folder / "suite" / "s.yaml").read_text()
    (folder / "suite" / "fair.yaml").write_text(suite + "compute: here\n")
    return folder


def load(configs: Path, name: str = "fair", *options: str) -> Suite:
    return load_suite(str(configs / "suite" / f"{name}.yaml"), parse_set_options(list(options)))


def protocol(**changed) -> ProtocolSpec:
    return ProtocolSpec(**{"epochs": 30, "batch_size": 10, "learning_rate": 0.1, **changed})


@pytest.mark.parametrize("epochs", [1, 7, 30, 200])
@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.04, 1.5, 2.5, 3.99, 40.0, 1000.0])
def test_epochs_are_the_budget_over_the_step_time(epochs, ratio):
    exact = (Decimal(epochs) / Decimal(str(ratio))).quantize(Decimal(1), ROUND_HALF_UP)
    assert fit_schedule(protocol(epochs=epochs), ratio) == {"epochs": max(1, int(exact))}


def test_warm_up_and_milestones_keep_their_share_and_stay_possible():
    stepped = protocol(epochs=100, warmup_epochs=10, schedule="step", milestones=(50, 75, 76))
    assert fit_schedule(stepped, 2.0) == {"epochs": 50, "warmup_epochs": 5, "milestones": (25, 38)}
    for ratio in (1.3, 2.0, 9.0, 60.0, 400.0):
        fitted = ProtocolSpec.model_validate({**stepped.model_dump(), **fit_schedule(stepped, ratio)})
        assert fitted.warmup_epochs < fitted.epochs
    assert fit_schedule(stepped, 400.0) == {"epochs": 1, "warmup_epochs": 0, "milestones": (1,)}


def test_a_fitted_run_ends_its_own_schedule(configs):
    """The last step's rate is next to nothing: the middle of a longer cosine would still be at half the rate."""
    for item in load(configs).planned:
        fitted = item.spec.effective_protocol
        last = learning_rate(fitted, fitted.epochs * 1000 - 1, 1000)
        assert last < 1e-5 * fitted.learning_rate, item.spec.labels.method


def test_every_method_gets_its_epochs_as_a_printed_exception(configs):
    specs = {item.spec.labels.method: item.spec for item in load(configs).planned if item.spec.seed == 0}
    assert {name: spec.effective_protocol.epochs for name, spec in specs.items()} == {
        "erm": 30, "mixup": 29, "mixup-strong": 1, "cutmix": 12,
    }  # fmt: skip
    assert specs["erm"].protocol.exceptions == ()
    (exception,) = specs["cutmix"].protocol.exceptions
    assert exception.set == {"epochs": 12, "warmup_epochs": 2}
    assert (
        exception.reason
        == "equal compute: a step takes 2.5 x erm's on H200, whose 30 epochs pay for 12 (100.0% of the budget)"
    )
    assert {spec.labels.protocol for spec in specs.values()} == {"short-equal-compute"}


def test_equal_compute_and_equal_epochs_never_share_a_cell_or_a_run(configs, tmp_path):
    plain, fair = load(configs, "s"), load(configs)
    (configs / "cost" / "here.yaml").write_text(COST.replace("2.5", "2.6"))
    other = load(configs)
    cells = [{item.spec.cell for item in suite.planned} for suite in (plain, fair, other)]
    assert [len(found) for found in cells] == [1, 1, 1]
    assert len(cells[0] | cells[1] | cells[2]) == 3
    records = [recorded(tmp_path, item.spec, {"test": 0.5}) for suite in (plain, fair) for item in suite.planned]
    assert len({record.run_id for record in records}) == 16
    study = arrange(records)
    assert sorted(cell.title for cell in study.cells) == [
        "digits / tiny / short",
        "digits / tiny / short-equal-compute",
    ]
    assert [len(cell.rows) for cell in study.cells] == [4, 4]
    assert all(row.name == row.labels.method for cell in study.cells for row in cell.rows)
    text = build_tables(records).accuracy.csv()
    notes = {row["method"]: row["footnotes"] for row in csv.DictReader(io.StringIO(text)) if "equal" in row["protocol"]}
    assert notes["cutmix"].startswith("exception: epochs = 12, warmup_epochs = 2 (equal compute: ")


def test_equal_epoch_runs_keep_their_ids(configs):
    spec = load(configs, "s").planned[0].spec
    assert "compute_budget" not in spec.canonical()["protocol"]
    assert "compute_budget" in load(configs).planned[0].spec.canonical()["protocol"]


def test_a_fitted_spec_survives_its_record(configs, tmp_path):
    (configs / "protocol" / "short.yaml").write_text(
        "epochs: 30\nbatch_size: 10\nlearning_rate: 0.1\nschedule: step\nmilestones: [10, 20]\n"
    )
    for item in load(configs).planned:
        record = recorded(tmp_path, item.spec, {"test": 0.5})
        (cell,) = arrange([record]).cells
        assert cell.rows[0].exceptions == item.spec.protocol.exceptions


@pytest.mark.parametrize(
    ("edit", "options", "message"),
    [
        (("cutmix: 2.5", "cutmx: 2.5"), [], "has no step time of 'cutmix'; did you mean 'cutmx'"),
        (("data: digits", "data: cifar10"), [], "has no step times for digits / tiny / short"),
        (("", ""), ["protocol.batch_size=5"], "timed with batch_size 10, and the protocol has 5"),
        (("", ""), ["protocol.precision=bf16"], "timed with precision fp32, and the protocol has bf16"),
        (("", ""), ["protocol.compute_budget=mine"], "'compute_budget' is written by a suite's 'compute' key"),
        (("mixup: 1.04", "mixup: -1"), [], "must be greater than 0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_cost_table_is_refused(configs, edit, options, message):
    (configs / "cost" / "here.yaml").write_text(COST.replace(*edit) if edit[0] else COST)
    with pytest.raises(BadInput, match=message):
        load(configs, "fair", *options)


def test_a_cost_table_by_path_and_an_unknown_one(configs):
    suite = configs / "suite" / "fair.yaml"
    suite.write_text(suite.read_text().replace("compute: here", "compute: ../cost/here.yaml"))
    assert load(configs).planned[3].spec.effective_protocol.epochs == 12
    suite.write_text(suite.read_text().replace("../cost/here.yaml", "hree"))
    with pytest.raises(BadInput, match="unknown cost 'hree'; did you mean 'here'"):
        load(configs)


def timed(configs: Path, store: Store, rounds: int) -> tuple[Suite, object]:
    """A timing session in which cutmix takes 2.5 times as long as erm, and mixup-strong was skipped."""
    suite = load(configs, "s")
    specs = [
        item.spec.model_copy(update={"data": item.spec.data.model_copy(update={"digest": "d"})})
        for item in suite.planned
    ]
    first = specs[0]
    factors = {"erm": 1.0, "mixup": 1.1, "cutmix": 2.5}
    with RecordWriter(store.new_session()) as writer:
        writer.append("begin", hardware="H200", precision="fp32", torch="2.11", cell=first.cell, labels={}, settings={},
                      source_digests={}, batch_size=10, provenance={})  # fmt: skip
        for spec in specs[:4]:
            writer.append("arm", arm=spec.arm, label=spec.labels.method, passes_per_step=1, images_per_step=10)
        for place in range(rounds):
            for spec in specs[:4]:
                if spec.labels.method in factors:
                    seconds = factors[spec.labels.method] * (1 + place % 3)
                    writer.append("sample", arm=spec.arm, label=spec.labels.method, round=place, seconds=seconds)
        writer.append("end", status="ok")
    return suite, build_tables([], store.sessions(), specs).throughput


def test_recorded_step_times_become_a_cost_table(configs, tmp_path):
    suite, table = timed(configs, Store(tmp_path / "records"), 6)
    path = tmp_path / "cost.yaml"
    write_cost(table, suite, path)
    cost = read_cost(str(path), path, suite.folders, "test")
    (cell,) = cost.file.cells
    assert cell.ratios == {"erm": 1.0, "mixup": 1.1, "cutmix": 2.5}
    assert (cell.data, cell.batch_size, cell.precision, cell.rounds) == ("digits", 10, "fp32", 6)
    assert (cost.file.hardware, cost.file.reference) == ("H200", "erm")


def test_too_few_rounds_and_no_rounds_make_no_cost_table(configs, tmp_path):
    suite, table = timed(configs, Store(tmp_path / "records"), 5)
    with pytest.raises(BadInput, match="'erm' has 5 rounds; time it in 6 at least"):
        write_cost(table, suite, tmp_path / "cost.yaml")
    with pytest.raises(BadInput, match="has no step times"):
        write_cost(build_tables([], [], []).throughput, suite, tmp_path / "cost.yaml")
    with pytest.raises(BadInput, match="without 'compute'"):
        write_cost(table, load(configs), tmp_path / "cost.yaml")
