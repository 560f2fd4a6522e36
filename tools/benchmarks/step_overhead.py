"""What the harness adds to a plain training step: against forward, backward and optimiser, and against a bare loop."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from bench.spec import BackboneSpec
from bench.speed.split import split_step
from bench.speed.step_timer import StepTimer
from bench.train.optimizer import build_optimizer
from bench.train.settings import library_settings
from tools.benchmark_nets import RESNET18, SMALL, step_spec, step_timer
from tools.interleaved import Row, ratio_row, seconds_in_turns

ROUNDS = 30
IMAGES = 1280
NETWORK = ("forward", "backward", "optimiser")


def rows(device: str) -> list[Row]:
    """The small net at 32 px on any device; ResNet-18 for CIFAR on a GPU, in bf16."""
    place = torch.device(device)
    cases = [(SMALL, 25, "fp32"), (SMALL, 128, "fp32")]
    if place.type == "cuda":
        cases += [(RESNET18, 128, "bf16"), (RESNET18, 512, "bf16")]
    return [row for case in cases for row in _case(*case, place)]


def _case(backbone: BackboneSpec, batch: int, precision: str, device: torch.device) -> list[Row]:
    case = f"{backbone.name}, 32 px, B {batch}, {precision}"
    spec = step_spec(backbone, "erm", batch, precision)
    with library_settings(spec.protocol):
        timer = step_timer(spec, IMAGES, device, 2)
        bare = _bare_loop(timer)
        for _ in range(3):
            timer.seconds_by_branch()
            timer.timed({"": bare})
        splits = [split_step(timer) for _ in range(ROUNDS)]
        candidates = {
            "harness": lambda: timer.seconds_by_branch()[""],
            "bare": lambda: timer.timed({"": bare})[""],
        }
        found = seconds_in_turns(candidates, ROUNDS)
    whole = [sum(split.values()) for split in splits]
    network = [sum(split[name] for name in NETWORK) for split in splits]
    fed = [split["data"] + split["mixing"] for split in splits]
    return [
        ratio_row("whole step", case, "its forward, backward, optimiser", whole, network, _target(device)),
        ratio_row("crop, flip, draws, views", case, "whole step", fed, whole, _share_target(backbone, batch, device)),
        ratio_row("whole step", case, "bare loop, one batch over and over", found["harness"], found["bare"]),
    ]


def _target(device: torch.device) -> str:
    return "<= 1.03" if device.type == "cuda" else "<= 1.08"


def _share_target(backbone: BackboneSpec, batch: int, device: torch.device) -> str:
    return "<= 0.05" if device.type == "cuda" and backbone == RESNET18 and batch == 512 else ""


def _bare_loop(timer: StepTimer) -> Callable[[], int]:
    """Two steps of nothing but the network: the same model and optimiser on one batch that is ready."""
    training = timer.training
    images, labels = timer.next_batch()[0]
    batch = training.normalise(images).contiguous(memory_format=training.memory_format)
    optimizer = build_optimizer(training.protocol, training.backbone.model, training.method)
    scaler = training.precision.scaler

    def run() -> int:
        for _ in range(2):
            with training.precision.autocast():
                loss = functional.cross_entropy(training.backbone.model(batch), labels)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
        return 2

    return run
