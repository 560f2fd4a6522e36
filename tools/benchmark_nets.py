"""Nets and images for the benchmarks of training steps: images are random, since only their shape costs time."""

from __future__ import annotations

import torch

from bench.data.facts import DataFacts
from bench.data.feeds import Splits
from bench.data.resident import ResidentTrain
from bench.run.build import build_method
from bench.spec import BackboneSpec, DataSpec, Labels, MethodSpec, ProtocolSpec, Scalar, Spec
from bench.speed.step_timer import StepTimer

CLASSES = 10
SMALL = BackboneSpec(name="test_resnet")
RESNET18 = BackboneSpec(name="resnet18", small_stem=True)


def step_spec(backbone: BackboneSpec, method: str, batch: int, precision: str = "fp32", **parameters: Scalar) -> Spec:
    """A run on 32 px colour images, padded, cropped and flipped, with SGD (AdamW for the small net, as on digits)."""
    small = backbone == SMALL
    return Spec(
        data=DataSpec(
            source="cifar10", resolution=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), crop="pad", flip=True
        ),
        backbone=backbone,
        protocol=ProtocolSpec(
            epochs=30, batch_size=batch, optimizer="adamw" if small else "sgd", learning_rate=1e-3, warmup_epochs=2,
            channels_last=not small, precision=precision,  # pyright: ignore[reportArgumentType]
        ),
        method=MethodSpec(implementation=method, parameters=parameters),
        seed=0,
        labels=Labels(data="random images", backbone=backbone.name, protocol="benchmark", method=method),
    )  # fmt: skip


def random_splits(spec: Spec, images: int, device: torch.device) -> Splits:
    """Training images that lie on the device; nothing to evaluate."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, CLASSES, (images,), generator=generator)
    facts = DataFacts("random", CLASSES, tuple(map(str, range(CLASSES))), {"train": images})
    return Splits(ResidentTrain(pixels.to(device), labels.to(device), spec.data), {}, facts)


def step_timer(spec: Spec, images: int, device: torch.device, steps: int) -> StepTimer:
    """The trainer's own steps on random images."""
    return StepTimer(spec, build_method(spec.method), random_splits(spec, images, device), device, steps)
