"""Records, checkpoints, weights and predictions that were cut or altered: found, told, made good, never trusted."""

from __future__ import annotations

import random
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from bench.cli.main import main
from bench.data.open import open_data
from bench.records import RecordWriter, StorageError, Store, read_record
from bench.run.build import build_method, evaluation_method
from bench.run.execute import Stopped, train_run
from bench.run.finished import load_trained, trained_method
from bench.spec import BackboneSpec, DataSpec, Labels, MethodSpec, ProtocolSpec, Spec
from bench.train.checkpoint import load_checkpoint, save_checkpoint

CPU = torch.device("cpu")
DATA = DataSpec(source="digits", resolution=32, channels=1, mean=(0.3,), std=(0.38,), train_per_class=3,
                validation=0.1, digest="d")  # fmt: skip
SPEC = Spec(
    data=DATA,
    backbone=BackboneSpec(name="test_resnet"),
    protocol=ProtocolSpec(epochs=3, batch_size=10, learning_rate=0.01, optimizer="adamw"),
    method=MethodSpec(implementation="recursivemix"),
    seed=3,
    labels=Labels(data="d", backbone="b", protocol="p", method="recursivemix"),
)
FLIPS = 200


@pytest.fixture(scope="module")
def splits():
    return open_data(DATA.model_copy(update={"digest": None}), CPU)


def train(splits, folder: Path, stop_after: int | None = None) -> str:
    """stop_after: steps after which somebody asks the run to stop."""
    steps = iter(range(1, 1_000_000))
    return train_run(
        SPEC, build_method(SPEC.method), splits, folder, CPU, "source", [3], 1e9, lambda event: None,
        lambda: next(steps) == stop_after,
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(splits, tmp_path_factory) -> Path:
    """A store with one finished run; tests copy it."""
    root = tmp_path_factory.mktemp("finished") / "records"
    assert train(splits, Store(root).new_attempt(SPEC.run_id)) == "ok"
    return root


@pytest.fixture(scope="module")
def interrupted(splits, tmp_path_factory) -> Path:
    """An attempt that stopped in its second epoch."""
    folder = tmp_path_factory.mktemp("interrupted") / "attempt"
    with pytest.raises(Stopped):
        train(splits, folder, stop_after=5)
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run: its store, and a function that gives its record as it is now."""
    shutil.copytree(finished, tmp_path / "records")
    store = Store(tmp_path / "records")

    def read() -> Any:
        record = store.run(SPEC.run_id)
        assert record is not None
        return record

    return read


def flipped(content: bytes, draws: random.Random) -> bytes:
    position, bit = draws.randrange(len(content)), draws.randrange(8)
    return content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :]


def test_no_cut_and_no_flipped_bit_of_a_real_record_is_taken_for_a_finished_run_with_other_numbers(run):
    """Every length of the file, and random bits: the run counts as unfinished, or all its epochs are those recorded."""
    path = run().folder / "train.jsonl"
    content = path.read_bytes()
    whole = run()
    ends = [place for place, byte in enumerate(content) if byte == ord("\n")]
    for length in range(len(content)):
        path.write_bytes(content[:length])
        found = run() if length else None
        if found is None or length != ends[-1]:
            assert found is None or found.status == "incomplete", length
    draws = random.Random(0)
    for _ in range(FLIPS):
        path.write_bytes(flipped(content, draws))
        found = run()
        assert found.damaged or found.torn
        if found.status == "ok":
            assert found.epochs == whole.epochs
            assert found.spec == whole.spec
        else:
            assert found.status == "incomplete"


def zip_boundaries(content: bytes) -> list[int]:
    """Where each member, the central directory and its end begin in a zip file."""
    starts = [place for mark in (b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6") for place in _places(content, mark)]
    return sorted({near for start in starts for near in (start - 1, start, start + 1, start + 30)})


def _places(content: bytes, mark: bytes) -> list[int]:
    found, place = [], content.find(mark)
    while place >= 0:
        found.append(place)
        place = content.find(mark, place + 1)
    return found


def test_no_cut_and_no_flipped_bit_of_a_checkpoint_is_loaded(tmp_path):
    """500 lengths, those at the borders of the zip's members among them, and as many flipped bits."""
    path = tmp_path / "checkpoint.pt"
    state = {"epoch": 1, "step": 2, "backbone": {str(i): torch.arange(50.0) + i for i in range(12)}, "average": None}
    save_checkpoint(path, state)
    content = path.read_bytes()
    draws = random.Random(1)
    lengths = {length for length in zip_boundaries(content) if 0 <= length < len(content)}
    assert len(lengths) > 50
    while len(lengths) < 500:
        lengths.add(draws.randrange(len(content)))
    for length in sorted(lengths):
        path.write_bytes(content[:length])
        assert load_checkpoint(path) is None, length
    for _ in range(500):
        path.write_bytes(flipped(content, draws))
        assert load_checkpoint(path) is None
    path.write_bytes(content)
    loaded = load_checkpoint(path)
    assert loaded is not None
    assert torch.equal(loaded["backbone"]["3"], state["backbone"]["3"])


def test_a_checkpoint_never_runs_code(tmp_path):
    class Runs:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    save_checkpoint(tmp_path / "checkpoint.pt", {"epoch": Runs()})
    assert load_checkpoint(tmp_path / "checkpoint.pt") is None
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("harm", ["checkpoint", "epoch line"])
def test_a_run_starts_again_where_its_checkpoint_is_of_no_use(interrupted, finished, splits, tmp_path, harm, capfd):
    folder = tmp_path / "attempt"
    shutil.copytree(interrupted, folder)
    (folder / ".checkpoint.pt.12345").write_bytes(b"half")
    if harm == "checkpoint":
        content = (folder / "checkpoint.pt").read_bytes()
        (folder / "checkpoint.pt").write_bytes(content[: len(content) // 2])
        reason = "checkpoint.pt is damaged"
    else:
        content = (folder / "train.jsonl").read_bytes()
        (folder / "train.jsonl").write_bytes(content.replace(b'"kind":"epoch"', b'"kind":"eposh"'))
        reason = "the record has lost epoch 1"
    assert train(splits, folder) == "ok"
    assert f"{reason}; training starts again" in capfd.readouterr().err
    lines = read_record(folder / "train.jsonl").lines
    (again,) = (line for line in lines if line["kind"] == "resume")
    assert (again["epoch"], again["restarted"]) == (0, reason)
    whole = Store(finished).run(SPEC.run_id)
    assert whole is not None
    assert (folder / "weights.safetensors").read_bytes() == (whole.folder / "weights.safetensors").read_bytes()
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("name", ["weights.safetensors", "method.safetensors", "predictions.npz", "best.safetensors"])
def test_no_cut_and_no_flipped_bit_of_a_file_beside_the_record_is_trusted(run, splits, name, capsys):
    record = run()
    path, store = record.folder / name, record.folder.parent.parent
    assert record.file_problem(name) is None
    assert main(["check", str(store)]) == 0
    content = path.read_bytes()
    draws = random.Random(name)
    backbone = load_trained(SPEC, record.folder, splits, CPU)
    for number in range(24):
        altered = flipped(content, draws) if number % 2 else content[: draws.randrange(len(content))]
        path.write_bytes(altered)
        damaged = run()
        assert damaged.file_problem(name) == "is damaged"
        assert name != "predictions.npz" or damaged.predictions is None
        if name == "weights.safetensors":
            with pytest.raises(StorageError, match="is damaged"):
                load_trained(SPEC, record.folder, splits, CPU)
        if name == "method.safetensors":
            with pytest.raises(StorageError, match="is damaged"):
                trained_method(SPEC, record.folder, backbone, 10)
    capsys.readouterr()
    assert main(["check", str(store)]) == 1
    assert f"{name}: is damaged" in capsys.readouterr().out
    path.unlink()
    assert run().file_problem(name) == "is missing"


def test_a_timing_session_with_a_damaged_line_is_named(run, capsys):
    """Tables are made of what is whole; that something is not has to be told somewhere."""
    store = run().folder.parent.parent
    path = store / "speed" / "one.jsonl"
    with RecordWriter(path) as record:
        record.append("begin", cell="c")
        record.append("sample", arm="a", round=0, seconds=0.5)
        record.append("end", status="ok")
    assert main(["check", str(store)]) == 0
    path.write_bytes(path.read_bytes().replace(b'"seconds":0.5', b'"seconds":0.4'))
    capsys.readouterr()
    assert main(["check", str(store)]) == 1
    assert f"{path}: damaged line(s) 2" in capsys.readouterr().out


def test_evaluators_see_the_method_as_it_was_trained(run, splits):
    folder = run().folder
    backbone = load_trained(SPEC, folder, splits, CPU)
    fresh, trained = evaluation_method(SPEC, backbone, 10), trained_method(SPEC, folder, backbone, 10)
    assert fresh is not None
    assert trained is not None
    kept = load_file(folder / "method.safetensors")
    assert trained.state_dict().keys() == kept.keys()
    assert all(torch.equal(value, kept[name]) for name, value in trained.state_dict().items())
    assert not torch.equal(fresh.get_parameter("region_head.weight"), trained.get_parameter("region_head.weight"))
    assert len(trained.get_buffer("past_images")) == 10


def test_an_older_record_has_no_trained_method(run, splits):
    folder = run().folder
    path = folder / "train.jsonl"
    path.write_bytes(b"".join(line for line in path.read_bytes().splitlines(True) if b'"kind":"file"' not in line))
    backbone = load_trained(SPEC, folder, splits, CPU)
    assert trained_method(SPEC, folder, backbone, 10) is None


def test_the_best_epoch_is_chosen_on_validation_images(run):
    record = run()
    accuracies = [(epoch["validation"]["top1"], -epoch["validation"]["nll"]) for epoch in record.epochs]
    held = [line for line in read_record(record.folder / "train.jsonl").lines if line.get("name") == "best.safetensors"]
    assert held[-1]["epoch"] == 1 + accuracies.index(max(accuracies))
    assert held[-1]["selected"] == "validation top1"
    with safe_open(record.folder / "best.safetensors", framework="pt") as file:
        assert file.metadata() == {"selected": f"validation top1, epoch {held[-1]['epoch']}"}


@pytest.mark.parametrize("best", [False, True])
def test_exported_weights_load_into_a_plain_timm_model(run, splits, tmp_path, best, capsys):
    record = run()
    results, file = record.folder.parents[2], tmp_path / "net.safetensors"
    arguments = ["export", record.run_id[:6], "-o", str(file), "--results", str(results)]
    assert main([*arguments, *(["--best"] if best else [])]) == 0
    call = capsys.readouterr().out.splitlines()[-1]
    model = eval(call, {"timm": timm}).eval()
    images = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    name = "best.safetensors" if best else "weights.safetensors"
    expected = timm.create_model("test_resnet", num_classes=10, in_chans=1).eval()
    expected.load_state_dict(load_file(record.folder / name), strict=True)
    assert torch.equal(model(images), expected(images))
    if not best:
        assert torch.equal(model(images), load_trained(SPEC, record.folder, splits, CPU)(images))
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header = stream.read(length).decode()
    for text in (record.run_id, "test_resnet", "0.38", record.files[name], "validation top1" if best else "last epoch"):
        assert text in header


def test_export_refuses_in_one_line(run, tmp_path, capsys):
    record = run()
    results = ["--results", str(record.folder.parents[2])]
    file = tmp_path / "net.safetensors"

    def refusal(*arguments: str) -> str:
        assert main(["export", *arguments, *results]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "must end in .safetensors" in refusal(record.run_id, "-o", str(tmp_path / "net.pt"))
    assert "there is no folder" in refusal(record.run_id, "-o", str(tmp_path / "none" / "net.safetensors"))
    assert "no runs" in refusal("ffff", "-o", str(file))
    weights = record.folder / "weights.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "is damaged" in refusal(record.run_id, "-o", str(file))
    weights.unlink()
    assert "is missing" in refusal(record.run_id, "-o", str(file))
    train_file = record.folder / "train.jsonl"
    train_file.write_bytes(train_file.read_bytes()[:-20])
    assert "is incomplete" in refusal(record.run_id, "-o", str(file))
    assert not file.exists()
