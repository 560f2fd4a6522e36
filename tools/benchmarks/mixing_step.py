"""A training step of each method against one without mixing, and AlignMix against Mixup, by the trainer's own steps."""

from __future__ import annotations

import argparse
import json

import torch

from bench.spec import BackboneSpec
from bench.speed.step_timer import StepTimer
from bench.train.settings import library_settings
from tools.benchmark_nets import RESNET18, SMALL, step_spec, step_timer
from tools.interleaved import Row, ratio_row, seconds_in_turns

ROUNDS = 31
WARM_UP_ROUNDS = 3
STEPS = 4
IMAGES = 1280
SMALL_STAGE = 1
"""Where AlignMix mixes the small net's maps: the last one is a single position at 32 px."""
PASSES = {"augmix": 3}
"""Images through the network, as a multiple of plain training's; one otherwise."""
METHODS = ("erm", "mixup", "cutmix", "manifold_mixup", "augmix", "alignmix")


def rows(device: str) -> list[Row]:
    """The small net at 32 px in fp32 on a CPU, with Torch's threads as they are; ResNet-18 for CIFAR in bf16 on a GPU.

    Seconds are those of a mean step over the method's branches.
    """
    place = torch.device(device)
    if place.type == "cuda":
        return [row for batch in (128, 512) for row in _case(RESNET18, batch, "bf16", place)]
    return [row for batch in (25, 128) for row in _case(SMALL, batch, "fp32", place)]


def _case(backbone: BackboneSpec, batch: int, precision: str, device: torch.device) -> list[Row]:
    case = f"{backbone.name}, 32 px, B {batch}, {precision}"
    specs = {name: step_spec(backbone, name, batch, precision) for name in METHODS if name != "alignmix"}
    stage = SMALL_STAGE if backbone == SMALL else -1
    specs["alignmix"] = step_spec(backbone, "alignmix", batch, precision, stage=stage)
    with library_settings(specs["erm"].protocol):
        timers = {name: step_timer(spec, IMAGES, device, STEPS) for name, spec in specs.items()}
        candidates = {name: _mean_step(timer) for name, timer in timers.items()}
        seconds_in_turns(candidates, WARM_UP_ROUNDS)
        found = seconds_in_turns(candidates, ROUNDS)
    made = [
        ratio_row(
            f"{name} step", case, _baseline(name), found[name], [PASSES.get(name, 1) * base for base in found["erm"]],
            _target(name, device),
        )
        for name in METHODS[1:]
    ]  # fmt: skip
    target = against_mixup(device, batch)
    return [*made, ratio_row("alignmix step", case, "mixup step", found["alignmix"], found["mixup"], target)]


def against_mixup(device: torch.device, batch: int) -> str:
    """The target of AlignMix's step against Mixup's."""
    return "<= 1.05" if device.type == "cuda" else "<= 1.5" if batch == 25 else "<= 1.3"


def _mean_step(timer: StepTimer):
    return lambda: timer.expected(timer.seconds_by_branch())


def _baseline(name: str) -> str:
    return f"{PASSES[name]} erm steps" if name in PASSES else "erm step"


def _target(name: str, device: torch.device) -> str:
    on_gpu = device.type == "cuda"
    if name == "augmix":
        return "<= 1.05" if on_gpu else "<= 1.5"
    if name == "alignmix":
        return ""
    return "<= 1.02" if on_gpu else "<= 1.10"


def main() -> None:
    """Print the rows as JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    for row in rows(parser.parse_args().device):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
