"""Black and white images of any batch size and shape: the mean brightness of what a network is given is the weight of
the white label, for every method whose facts say that its labels follow its pixels."""

from __future__ import annotations

import functools
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.backbones.adapter import TimmBackbone
from bench.backbones.build import build_backbone
from bench.config.catalogue import method_facts, method_names
from bench.config.folders import ConfigFolders
from bench.config.sections import resolve_method
from bench.data.normalise import Normaliser
from bench.evals.mixed_labels import labelled_step
from bench.run.build import build_method
from bench.spec import BackboneSpec
from methods import cutmix, mixup
from methods.api import BatchShape, Draws, Method, Task
from methods.ops.keys import Key
from tests.oracle.input_method_checks import swapped_lam
from tests.oracle.mixing_checks import cross_entropy
from tools.method_facts import FILE

CLASSES = 2
FACTS = json.loads(FILE.read_text(encoding="utf-8"))
BY_AREA = [name for name in method_names() if FACTS[name]["label_gap"] == 0]
"""Others label by attention or maps, add noise, or mix with earlier batches; they have references of their own."""
SIDES = st.sampled_from([64, 80, 96])


PER_SAMPLE = [
    (name, {"lam_per": "sample"}) for name in BY_AREA if "lam_per" in method_facts(name).parameters.model_fields
]
CASES = [*((name, {}) for name in BY_AREA), *PER_SAMPLE, ("saliencymix", {"lam_per": "sample", "peak_of": "partner"})]


def fresh(
    name: str, channels: int, height: int, width: int, changes: dict[str, str] | None = None
) -> tuple[Method, TimmBackbone]:
    spec = resolve_method(name, "test", ConfigFolders(), []).spec
    method = build_method(spec.model_copy(update={"parameters": {**spec.parameters, **(changes or {})}}))
    backbone = _net(channels)
    task = Task(CLASSES, cross_entropy, (channels, height, width))
    assert method.skip(backbone, task) is None
    method.setup(backbone, task)
    return method, backbone


@functools.cache
def _net(channels: int) -> TimmBackbone:
    return build_backbone(BackboneSpec(name="test_resnet"), CLASSES, channels, 64, seed=0)


def with_lam(method: Method, lam: float | None) -> None:
    """Put `lam`, if any, in the place of every lam that the method draws."""
    draw = method.draw

    def changed(key: Key, shape: BatchShape) -> Draws:
        drawn = draw(key, shape)
        if lam is None or "lam" not in drawn.tensors:
            return drawn
        return Draws(drawn.branch, {**drawn.tensors, "lam": torch.full_like(drawn["lam"], lam)})

    method.draw = changed  # type: ignore[method-assign]


def largest_gap(
    name: str,
    size: int,
    channels: int,
    height: int,
    width: int,
    seed: int,
    lam: float | None,
    changes: dict[str, str] | None = None,
    steps: int = 4,
) -> float:
    method, backbone = fresh(name, channels, height, width, changes)
    with_lam(method, lam)
    labels = torch.arange(size) % 2
    shape = (size, channels, height, width)
    images = (labels * 255).to(torch.uint8).view(-1, 1, 1, 1).expand(shape).contiguous()
    normalise = Normaliser((0.0,) * channels, (1.0,) * channels)
    gap = 0.0
    for number in range(steps):
        for seen in labelled_step(backbone, method, images, labels, normalise, Key("any", seed, number)).passes:
            used = seen.weights.sum(1) > 0
            assert (seen.weights >= 0).all()
            if used.any() and not seen.edited:
                brightness = seen.images.mean((1, 2, 3))
                gap = max(gap, float((brightness - seen.targets()[:, 1]).abs()[used].max()))
    return gap


def test_most_methods_are_looked_at() -> None:
    assert len(BY_AREA) >= 16
    assert {"mixup", "cutmix", "puzzlemix", "comixup"} <= set(BY_AREA)
    assert len(PER_SAMPLE) >= 11


@pytest.mark.parametrize(
    ("name", "changes"), CASES, ids=lambda given: str(given) if isinstance(given, str) else "-".join(given.values())
)
@settings(max_examples=6, deadline=None, database=None, derandomize=True)
@given(
    st.integers(1, 5), st.sampled_from([1, 3]), SIDES, SIDES, st.integers(0, 10**6),
    st.sampled_from([None, 0.0, 1.0]),
)  # fmt: skip
def test_mean_brightness_is_the_weight_of_the_white_label(
    name: str,
    changes: dict[str, str],
    size: int,
    channels: int,
    height: int,
    width: int,
    seed: int,
    lam: float | None,
) -> None:
    assert largest_gap(name, size, channels, height, width, seed, lam, changes) < 1e-3


@pytest.mark.parametrize("module", [mixup, cutmix])
def test_exchanged_label_weights_are_caught(module: object, monkeypatch: pytest.MonkeyPatch) -> None:
    name = module.__name__.rpartition(".")[2]  # type: ignore[attr-defined]
    assert largest_gap(name, 5, 1, 64, 96, 0, None) < 1e-3
    monkeypatch.setattr(module, "mixed_loss", swapped_lam)
    assert largest_gap(name, 5, 1, 64, 96, 0, None) > 0.05
