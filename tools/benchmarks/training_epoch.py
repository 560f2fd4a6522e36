"""One epoch of ResNet-18 on CIFAR's 50,000 images for each method, from the time of some of its steps."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch

from bench.config.catalogue import method_names
from bench.speed.step_timer import StepTimer
from bench.stats import median
from bench.train.settings import library_settings
from bench.train.training import Skipped
from tools.benchmark_nets import RESNET18, step_spec, step_timer
from tools.interleaved import Row, ratio_row, seconds_in_turns

IMAGES = 50_000
GOAL, GOAL_TARGET = "50,000 images/s", ">= 1"


def rows(device: str) -> list[Row]:
    """Seconds are those of a whole epoch, scaled from the steps that the case tells; the ratio is to plain training,
    in turns with it (plain training's own to a second one). Methods that do not run on this net are named and left out.

    On a CPU one step of each branch is timed after one to warm up, in fp32 at B 128, too few for an interval; on a GPU
    a tenth of an epoch in each of nine rounds, in bf16 at B 128 and 512.
    """
    place = torch.device(device)
    if place.type == "cuda":
        return [row for batch in (128, 512) for row in _case(batch, "bf16", place, IMAGES // batch // 10, 9, IMAGES)]
    return _case(128, "fp32", place, steps=1, rounds=1, images=1280)


def _case(batch: int, precision: str, device: torch.device, steps: int, rounds: int, images: int) -> list[Row]:
    made: list[Row] = []
    case = f"ResNet-18, B {batch}, {precision}"
    plain_spec = step_spec(RESNET18, "erm", batch, precision)
    with library_settings(plain_spec.protocol):
        plain = _epoch(step_timer(plain_spec, images, device, steps), batch)
        plain()
        for name in ["erm", *(name for name in method_names() if name != "erm")]:
            try:
                timer = step_timer(step_spec(RESNET18, name, batch, precision), images, device, steps)
            except Skipped as reason:
                print(f"  {name} is left out: {reason}", file=sys.stderr)
                continue
            own = _epoch(timer, batch)
            own()
            found = seconds_in_turns({name: own, "plain": plain}, rounds)
            taken = f"{case}, scaled from {sum(timer.quotas.values()) * rounds} steps"
            made.append(
                ratio_row(f"{name} epoch", taken, "erm epoch", found[name], found["plain"], _target(name, device))
            )
            if device.type == "cuda" and batch == 512 and name == "erm":
                speed = [IMAGES / seconds for seconds in found[name]]
                row = ratio_row("erm images/s", taken, GOAL, speed, [50_000.0] * rounds, GOAL_TARGET)
                made.append({**row, "seconds": median(found[name])})
    return made


def _epoch(timer: StepTimer, batch: int) -> Callable[[], float]:
    return lambda: timer.expected(timer.seconds_by_branch()) * (IMAGES // batch)


def _target(name: str, device: torch.device) -> str:
    if device.type != "cuda":
        return ""
    targets = {"mixup": "<= 1.02", "cutmix": "<= 1.02", "manifold_mixup": "<= 1.02"}
    return {**targets, "augmix": "<= 3.15", "alignmix": "<= 1.07"}.get(name, "")
