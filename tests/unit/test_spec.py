"""The run id: what enters it, what does not, and that equal experiments have equal ids."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from bench.spec import (
    BackboneSpec,
    DataSpec,
    ExceptionSpec,
    Labels,
    MethodSpec,
    ProtocolSpec,
    Spec,
    canonical_json,
)


def make_spec(**changes) -> Spec:
    sections = {
        "data": DataSpec(source="digits", resolution=32, channels=1, mean=(0.3,), std=(0.4,), digest="d" * 16),
        "backbone": BackboneSpec(name="test_resnet"),
        "protocol": ProtocolSpec(epochs=3, batch_size=10, learning_rate=0.1),
        "method": MethodSpec(implementation="mixup", parameters={"alpha": 1.0}),
        "seed": 0,
        "labels": Labels(data="digits", backbone="test_resnet", protocol="p", method="mixup"),
    }
    return Spec(**{**sections, **changes})


def test_id_survives_a_round_trip_through_json():
    spec = make_spec()
    again = Spec.model_validate_json(spec.model_dump_json())
    assert again == spec
    assert again.run_id == spec.run_id
    loose = Spec.model_validate(json.loads(json.dumps(spec.model_dump(mode="json"))), strict=False)
    assert loose.run_id == spec.run_id


def test_id_ignores_paths_workers_and_labels():
    spec = make_spec()
    elsewhere = make_spec(data=spec.data.model_copy(update={"root": "/elsewhere", "workers": 9}))
    renamed = make_spec(labels=Labels(data="x", backbone="y", protocol="z", method="w"))
    assert elsewhere.run_id == renamed.run_id == spec.run_id


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"method": MethodSpec(implementation="mixup", parameters={"alpha": 0.5})},
        {"method": MethodSpec(implementation="cutmix", parameters={"alpha": 1.0})},
        {"backbone": BackboneSpec(name="test_resnet", small_stem=True)},
        {"protocol": ProtocolSpec(epochs=4, batch_size=10, learning_rate=0.1)},
        {"data": DataSpec(source="digits", resolution=32, channels=1, mean=(0.3,), std=(0.4,), digest="e" * 16)},
    ],
)
def test_id_follows_what_changes_the_experiment(change):
    assert make_spec(**change).run_id != make_spec().run_id


def test_one_and_one_point_zero_are_the_same_experiment():
    whole = make_spec(protocol=ProtocolSpec(epochs=3, batch_size=10, learning_rate=1))
    decimal = make_spec(protocol=ProtocolSpec(epochs=3, batch_size=10, learning_rate=1.0))
    assert whole.run_id == decimal.run_id


def test_free_form_values_have_one_form():
    one = make_spec(backbone=BackboneSpec(name="test_resnet", options={"x": 1}))
    other = make_spec(backbone=BackboneSpec(name="test_resnet", options={"x": 1.0}))
    assert one.run_id == other.run_id != make_spec(backbone=BackboneSpec(name="test_resnet", options={"x": 1.5})).run_id


def test_a_parameter_added_later_keeps_old_ids_until_it_is_used():
    old = make_spec()
    neutral = make_spec(
        method=MethodSpec(implementation="mixup", parameters={"alpha": 1.0, "new": 0.0}, neutral={"new": 0.0})
    )
    used = make_spec(
        method=MethodSpec(implementation="mixup", parameters={"alpha": 1.0, "new": 0.5}, neutral={"new": 0.0})
    )
    assert neutral.run_id == old.run_id
    assert used.run_id != old.run_id


def test_ways_to_decode_are_in_the_id_and_the_place_of_cropping_is_not():
    def streamed(**changes) -> Spec:
        return make_spec(
            data=DataSpec(
                source="streaming", resolution=32, mean=(0.3,) * 3, std=(0.4,) * 3, digest="d" * 16, **changes
            )
        )

    plain = streamed()
    assert not {"decoder", "jpeg_side", "augment_on"} & plain.canonical()["data"].keys()
    assert plain.run_id == streamed(augment_on="device").run_id
    ids = {
        plain.run_id,
        streamed(decoder="torchvision").run_id,
        streamed(jpeg_side=64).run_id,
        streamed(jpeg_side=65).run_id,
    }
    assert len(ids) == 4
    assert plain.run_id == "75a7ce202f2557bb"


def test_cell_and_arm_leave_out_method_and_seed():
    spec, other_seed = make_spec(), make_spec(seed=1)
    other_method = make_spec(method=MethodSpec(implementation="erm"))
    assert spec.arm == other_seed.arm != other_method.arm
    assert spec.cell == other_seed.cell == other_method.cell
    assert make_spec(protocol=ProtocolSpec(epochs=4, batch_size=10, learning_rate=0.1)).cell != spec.cell


def test_an_exception_changes_the_run_but_not_the_cell():
    exception = ExceptionSpec(method="mixup", set={"loss": "binary_cross_entropy"}, reason="as published")
    excepted = make_spec(protocol=ProtocolSpec(epochs=3, batch_size=10, learning_rate=0.1, exceptions=(exception,)))
    assert excepted.run_id != make_spec().run_id
    assert excepted.cell == make_spec().cell
    assert excepted.effective_protocol.loss == "binary_cross_entropy"
    assert excepted.protocol.loss == "cross_entropy"


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 0},
        {"epochs": 2.0},
        {"epochs": True},
        {"epochs": "3"},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"momentum": 1.0},
        {"accumulation": 3},
        {"rank_weights": "ema"},
        {"schedule": "step"},
        {"milestones": (5, 3), "schedule": "step"},
        {"warmup_epochs": 3},
        {"surprise": 1},
        {"exceptions": (ExceptionSpec(method="x", set={"lerning_rate": 1.0}, reason="r"),)},
    ],
)
def test_impossible_protocols_are_refused(values):
    with pytest.raises(ValidationError):
        ProtocolSpec(**{"epochs": 3, "batch_size": 10, "learning_rate": 0.1, **values})


def test_channels_must_match_mean_and_std():
    with pytest.raises(ValidationError, match="mean has 1 values for 3 channels"):
        DataSpec(source="folder", resolution=32, channels=3, mean=(0.5,), std=(0.5,))


def test_canonical_json_sorts_and_refuses_nan():
    assert canonical_json({"b": 1, "a": [True, None]}) == '{"a":[true,null],"b":1}'
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"a": float("nan")})


def test_ids_kept_in_a_spec_follow_its_copies():
    spec = make_spec()
    known = (spec.run_id, spec.arm, spec.cell)
    seeded = spec.with_seed(spec.seed + 1)
    fresh = Spec.model_validate(seeded.model_dump())
    assert (seeded.run_id, seeded.arm, seeded.cell) == (fresh.run_id, fresh.arm, fresh.cell)
    assert (seeded.run_id != known[0], seeded.arm, seeded.cell) == (True, *known[1:])
    other = spec.model_copy(update={"data": spec.data.model_copy(update={"split_seed": 9})})
    assert not {other.run_id, other.arm, other.cell} & set(known)
    assert (spec.run_id, spec.arm, spec.cell) == known
