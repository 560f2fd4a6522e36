"""What a suite costs, against sums by hand over recorded, timed and stated speeds."""

from __future__ import annotations

import json
import re

import pytest
from recorded_runs import MACHINE, write_run
from test_sweep_schedule import shortest, ticking

from bench.cli.main import main
from bench.cli.plan_command import size_text
from bench.config.overrides import parse_set_options
from bench.config.suite import load_suite
from bench.errors import BadInput
from bench.records import PREDICTIONS_FILE, WEIGHTS_FILE, RecordWriter, Store
from bench.sweep.plan import images_an_epoch, make_plan, parse_devices
from bench.sweep.plan_disk import disk_of
from bench.sweep.todo import find_todo

GPU = MACHINE | {"gpu": "NVIDIA H200"}
SETTINGS = ["seeds=2", "methods=[erm,mixup,cutmix]", "evals=[clean]", "protocol.epochs=10", "protocol.warmup_epochs=0"]
SETTINGS += ["data.train_per_class=5", "protocol.batch_size=20"]
COST = """
title: by hand
hardware: another one
torch: "2"
reference: erm
cells:
  - {data: digits, backbone: test_resnet, protocol: digits-100ep, batch_size: 20, precision: fp32, rounds: 30,
     ratios: {erm: 1.0, mixup: 1.5}}
"""


@pytest.fixture
def suite(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path / "cache"))
    return load_suite("quickstart", parse_set_options(SETTINGS))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results" / "records")


@pytest.fixture
def runs(suite, store):
    return {(item.spec.labels.method, item.spec.seed): item for item in find_todo(suite, store)}


def time_steps(store, runs, seconds: dict[str, float], hardware: str = "NVIDIA H200", status: str | None = "ok"):
    path = store.new_session()
    with RecordWriter(path) as record:
        record.append("begin", hardware=hardware, cell=runs["erm", 0].spec.cell)
        for name, step in seconds.items():
            for number, noise in enumerate((0.5, 1.0, 4.0)):
                arm = runs[name, 0].spec.arm
                record.append("sample", arm=arm, label=name, round=number, seconds=step * noise)
        if status:
            record.append("end", status=status)


def command(store, *arguments):
    given = [word for setting in SETTINGS for word in ("--set", setting)]
    return main(["plan", "quickstart", "--results", str(store.root.parent), *given, *arguments])


def plan(store, capsys, *arguments, code=0):
    assert command(store, *arguments, "--json") == code
    return json.loads(capsys.readouterr().out)


def test_steps_and_images(runs):
    assert images_an_epoch(runs["erm", 0].spec) == (2, 40)  # ten digits, five images of each, two batches of 20


def test_each_source_by_hand(store, runs, capsys, tmp_path):
    write_run(store, runs["erm", 1], [0.5] * 10, "ok", seconds=7.0, evaluators={"clean": 3.0}, provenance=GPU)
    time_steps(store, runs, {"erm": 9.0, "mixup": 0.25})
    found = plan(store, capsys, "--devices", "2xh200", "--images-per-second", "80")
    seconds = {(run["labels"]["method"], run["seed"]): (run["seconds"], run["source"]) for run in found["runs"]}
    for seed in (0, 1):
        assert seconds["erm", seed] == (pytest.approx(10.0), "recorded runs")  # 10 x 0.7 s and 3 s of `clean`
        assert seconds["mixup", seed] == (pytest.approx(10 * 2 * 0.25 + 3), "timed steps")
        assert seconds["cutmix", seed] == (pytest.approx(10 * 40 / 80 + 3), "stated speed")
    assert found["sources"] == {"recorded runs": 2, "timed steps": 2, "stated speed": 2}
    jobs = [10, 10, 8, 8, 8, 8]
    assert found["device_seconds"] == pytest.approx(sum(jobs))
    assert found["wall_seconds"] == pytest.approx(ticking(jobs, 2))
    assert found["shortest_seconds"] <= shortest(jobs, 2) + 1e-9
    assert found["shortest_seconds"] == pytest.approx(26)
    assert (found["unmeasured"], found["devices"]["machine"]) == ([], "NVIDIA H200")
    assert command(store, "--devices", "2xH200", "--images-per-second", "80") == 0
    text = capsys.readouterr().out
    assert "2 by recorded runs, 2 by timed steps, 2 by stated speed" in text
    assert "2 x cutmix (digits, test_resnet, digits-100ep): 8.0 s each, stated speed" in text


def test_epochs_of_an_exception_count(suite, store):
    exception = "protocol.exceptions=[{method: cutmix, set: {epochs: 30}, reason: learns slowly}]"
    longer = load_suite("quickstart", parse_set_options([*SETTINGS, exception]))
    costs = make_plan(find_todo(longer, store), [], [], "erm", "1xH200", images_per_second=80).costs
    assert {cost.spec.labels.method: cost.seconds for cost in costs} == {"erm": 5, "mixup": 5, "cutmix": 15}


def test_a_cost_table_needs_the_reference_measured_or_stated(store, runs, capsys, tmp_path):
    file = tmp_path / "cost.yaml"
    file.write_text(COST)
    stated = plan(store, capsys, "--devices", "1xH200", "--speed", str(file), "--images-per-second", "40", code=3)
    seconds = {run["labels"]["method"]: (run["seconds"], run["source"]) for run in stated["runs"]}
    assert seconds == {"erm": (10, "stated speed"), "mixup": (15, "stated speed"), "cutmix": (None, "unknown")}
    assert stated["unmeasured"] == ["clean"]
    time_steps(store, runs, {"erm": 2.0})
    measured = plan(store, capsys, "--devices", "1xH200", "--speed", str(file), code=3)
    seconds = {run["labels"]["method"]: (run["seconds"], run["source"]) for run in measured["runs"]}
    assert seconds == {"erm": (40, "timed steps"), "mixup": (60, "cost table"), "cutmix": (None, "unknown")}
    assert measured["wall_seconds"] == 2 * (40 + 60)
    assert command(store, "--devices", "1xH200", "--speed", str(file)) == 3
    assert "2 unknown and not counted" in capsys.readouterr().out


def test_sessions_that_did_not_end_or_of_other_machines_do_not_count(store, runs, suite):
    time_steps(store, runs, {"erm": 1.0}, status=None)
    time_steps(store, runs, {"erm": 1.0}, hardware="NVIDIA A100")
    with pytest.raises(BadInput, match="no run of this suite has a speed on 'H200'; there are times on: NVIDIA A100;"):
        make_plan(find_todo(suite, store), store.sessions(), suite.evals, "erm", "8xH200")


@pytest.mark.parametrize("text", ["H200", "0xH200", "x", "8x", "-1xH200", "8 H200", "1.5xH200", ""])
def test_bad_devices(store, text, capsys):
    assert command(store, f"--devices={text}", "--images-per-second", "1") == 2
    assert re.fullmatch(r"mixbench: --devices: '.*' is not COUNTxNAME, such as 64xH200\n", capsys.readouterr().err)


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "inf", "fast"])
def test_bad_speeds(store, speed, capsys):
    with pytest.raises(SystemExit):
        command(store, "--devices", "1xH200", f"--images-per-second={speed}")
    assert "--images-per-second" in capsys.readouterr().err


def test_names_of_devices():
    names = ["NVIDIA H200", "NVIDIA H200 NVL", "AMD EPYC, 1 thread(s)"]
    assert parse_devices("64xH200 NVL", names).machine == "NVIDIA H200 NVL"
    assert parse_devices("64 x nvidia h200", names).machine == "NVIDIA H200"
    assert parse_devices("3xB200", names) == parse_devices(" 3XB200 ", [])
    with pytest.raises(BadInput, match=re.escape("several machines on record: NVIDIA H200 | NVIDIA H200 NVL")):
        parse_devices("64xH200", names)


def test_disk_by_formula(suite, store):
    disk = disk_of(find_todo(suite, store), 1)
    from timm import create_model

    model = create_model("test_resnet", num_classes=10, in_chans=1)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    assert disk.kept["weights"] == 6 * weights
    assert disk.kept["predictions"] == 6 * 4 * 1747  # of 1797 digits 50 are trained on
    assert disk.checkpoint == 3 * weights  # AdamW keeps two moments
    assert 6 * 9_000 < disk.kept["records"] < 6 * 12_000
    assert (disk.measured, disk.runs) == (0, 6)


def test_disk_by_finished_runs(suite, store, runs):
    for seed, size in ((0, 1000), (1, 3000)):
        folder = write_run(store, runs["erm", seed], [1.0], "ok", seconds=1.0)
        (folder / WEIGHTS_FILE).write_bytes(bytes(size))
        (folder / PREDICTIONS_FILE).write_bytes(bytes(10))
    folder = write_run(store, runs["mixup", 0], [1.0], "error")
    (folder / WEIGHTS_FILE).write_bytes(bytes(10**6))
    disk = disk_of(find_todo(suite, store), 1)
    assert (disk.kept["weights"], disk.kept["predictions"], disk.measured) == (6 * 2000, 60, 6)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (850, "850 B"), (1234, "1.23 kB"), (999_600, "1 MB"), (2.5e12, "2.5 TB")]
)
def test_sizes(size, text):
    assert size_text(size) == text
