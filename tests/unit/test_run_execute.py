"""A run interrupted inside an epoch leaves the bytes of an undisturbed one, whatever state its method has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.data.open import open_data
from bench.records import read_record
from bench.run import execute
from bench.run.build import build_method
from bench.run.execute import Stopped, train_run
from bench.spec import BackboneSpec, DataSpec, Labels, MethodSpec, ProtocolSpec, Spec
from bench.train.accuracy import measure_accuracy
from bench.train.checkpoint import load_checkpoint
from methods.api import Method

CPU = torch.device("cpu")
DATA = DataSpec(source="digits", resolution=32, channels=1, mean=(0.3,), std=(0.38,), train_per_class=3,
                validation=0.1, digest="d")  # fmt: skip
PROTOCOL: dict[str, Any] = {"epochs": 3, "batch_size": 10, "learning_rate": 0.01, "optimizer": "adamw"}


def make_spec(implementation: str = "erm", parameters: dict[str, Any] | None = None, **protocol: Any) -> Spec:
    return Spec(
        data=DATA,
        backbone=BackboneSpec(name="test_resnet", dropout=0.1),
        protocol=ProtocolSpec(**{**PROTOCOL, **protocol}),
        method=MethodSpec(implementation=implementation, parameters=parameters or {}),
        seed=3,
        labels=Labels(data="d", backbone="b", protocol="p", method=implementation),
    )


@pytest.fixture(scope="module")
def splits():
    return open_data(DATA.model_copy(update={"digest": None}), CPU)


def train(spec, splits, folder: Path, stop_after: int | None = None, method: Method | None = None) -> str:
    """stop_after: steps after which somebody asks the run to stop."""
    steps = iter(range(1, 1_000_000))
    return train_run(
        spec, method or build_method(spec.method), splits, folder, CPU, "source", [3], 1e9, lambda event: None,
        lambda: next(steps) == stop_after,
    )  # fmt: skip


def numbers(folder: Path) -> list[dict[str, Any]]:
    """All lines that hold numbers of the training, without times; digests of all files are among them."""
    lines = read_record(folder / "train.jsonl").lines
    return [
        {key: value for key, value in line.items() if key != "seconds"}
        for line in lines
        if line["kind"] in ("epoch", "diagnostic", "file")
    ]


CASES = [
    ("erm", {}, {"ema_decay": 0.9, "rank_weights": "ema", "clip_grad_norm": 1.0}),
    ("recursivemix", {}, {"optimizer": "sgd", "precision": "fp16"}),
    ("automix", {"stage": 1, "momentum": 0.5, "final_momentum": 0.9}, {"ema_decay": 0.9}),
]


@pytest.mark.parametrize(("implementation", "parameters", "protocol"), CASES)
def test_an_interrupted_run_leaves_the_bytes_of_an_undisturbed_one(
    splits, tmp_path, implementation, parameters, protocol
):
    """Interrupted inside the first epoch and again inside the second, each time continued by fresh objects."""
    spec = make_spec(implementation, parameters, **protocol)
    assert train(spec, splits, tmp_path / "whole") == "ok"
    folder = tmp_path / "stopped"
    for stop_after in (2, 3):
        with pytest.raises(Stopped):
            train(spec, splits, folder, stop_after)
        state = load_checkpoint(folder / "checkpoint.pt")
        assert state is not None
        assert 0 < state["step"] < 3, "the interruption has to fall into an epoch"
    assert train(spec, splits, folder) == "ok"
    assert numbers(folder) == numbers(tmp_path / "whole")
    assert [line["kind"] for line in read_record(folder / "train.jsonl").lines].count("resume") == 2
    assert not (folder / "checkpoint.pt").exists()
    has_state = implementation != "erm"
    assert (folder / "method.safetensors").is_file() == has_state
    for path in folder.glob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes(), path.name


def test_the_last_epoch_is_measured_in_full_float32(splits, tmp_path, monkeypatch):
    """Its accuracy ranks the run and has to be that of the predictions, which a GPU makes without TF32."""
    shortened: list[bool] = []

    def measure(*arguments: Any) -> Any:
        shortened.append(torch.backends.cudnn.allow_tf32)
        return measure_accuracy(*arguments)

    monkeypatch.setattr(execute, "measure_accuracy", measure)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert train(make_spec(), splits, tmp_path) == "ok"
    assert shortened == [True, True, True, True, False, False], "two splits, three epochs"
    assert torch.backends.cudnn.allow_tf32
