"""What a timing session records: every round, in turns, with passes per step that are counted and not declared."""

from __future__ import annotations

import pytest
import torch

from bench.data.open import open_data
from bench.records.speed import read_session
from bench.run.build import build_method
from bench.spec import BackboneSpec, DataSpec, Labels, MethodSpec, ProtocolSpec, Spec
from bench.speed.session import time_methods

DATA = DataSpec(source="digits", resolution=32, channels=1, mean=(0.3,), std=(0.38,), train_per_class=2)
ARMS = {"erm": {}, "mixup": {}, "augmix": {}, "alignmix": {}}


def spec_of(name: str) -> Spec:
    return Spec(
        data=DATA,
        backbone=BackboneSpec(name="test_resnet"),
        protocol=ProtocolSpec(epochs=2, batch_size=10, learning_rate=0.01),
        method=MethodSpec(implementation=name, parameters=ARMS[name]),
        seed=0,
        labels=Labels(data="d", backbone="b", protocol="p", method=name),
    )


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    path = tmp_path_factory.mktemp("speed") / "s.jsonl"
    reports: list[dict] = []
    time_methods(
        path,
        [spec_of(name) for name in ARMS],
        lambda spec: build_method(spec.method),
        lambda: open_data(DATA, "cpu"),
        torch.device("cpu"),
        {"rounds": 4, "steps": 1, "warmup": 1},
        {},
        reports.append,
    )
    assert [report["round"] for report in reports] == [0, 0, 0, 0, 1, 2, 3, 4, 5]
    return read_session(path)


def test_every_method_is_timed_in_every_round_and_the_order_rotates(session):
    assert session.status == "ok"
    rounds = [[s["label"] for s in session.samples if s["round"] == number] for number in range(4)]
    assert rounds == [
        ["erm", "mixup", "augmix"],
        ["mixup", "augmix", "erm"],
        ["augmix", "erm", "mixup"],
        ["erm", "mixup", "augmix"],
    ]
    assert all(sample["seconds"] > 0 for sample in session.samples)


def test_passes_are_counted(session):
    passes = {arm["label"]: arm.get("passes_per_step") for arm in session.arms.values()}
    assert passes == {"erm": 1.0, "mixup": 1.0, "augmix": 3.0, "alignmix": None}


def test_a_method_that_cannot_run_is_named_with_its_reason(session):
    skipped = {arm["label"]: arm["skipped"] for arm in session.arms.values() if "skipped" in arm}
    assert list(skipped) == ["alignmix"]
    assert "1x1" in skipped["alignmix"]


def test_memory_that_was_not_measured_is_not_a_number(session):
    assert {arm.get("peak_memory") for arm in session.arms.values()} == {None}
    assert session.begin["hardware"]
