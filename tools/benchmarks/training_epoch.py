"""One epoch of ResNet-18 on CIFAR's 50,000 images for each method, from the time of some of its steps."""

from __future__ import annotations

from collections.abc import Callable

import torch

from bench.speed.step_timer import StepTimer
from bench.stats import median
from bench.train.settings import library_settings
from tools.benchmark_nets import RESNET18, step_spec, step_timer
from tools.interleaved import Row, ratio_row, seconds_in_turns

IMAGES = 50_000
METHODS = ("erm", "mixup", "cutmix", "manifold_mixup", "alignmix", "augmix")


def rows(device: str) -> list[Row]:
    """Seconds are those of a whole epoch. On a CPU a round is one step of each branch in fp32 at B 128, three rounds,
    too few for an interval; on a GPU 20 steps, nine rounds, in bf16 at B 128 and 512."""
    place = torch.device(device)
    if place.type == "cuda":
        return [row for batch in (128, 512) for row in _case(batch, "bf16", place, steps=20, rounds=9, images=IMAGES)]
    return _case(128, "fp32", place, steps=1, rounds=3, images=1280)


def _case(batch: int, precision: str, device: torch.device, steps: int, rounds: int, images: int) -> list[Row]:
    specs = {name: step_spec(RESNET18, name, batch, precision) for name in METHODS}
    with library_settings(specs["erm"].protocol):
        timers = {name: step_timer(spec, images, device, steps) for name, spec in specs.items()}
        candidates = {name: _epoch(timer, batch) for name, timer in timers.items()}
        seconds_in_turns(candidates, 1)
        found = seconds_in_turns(candidates, rounds)
    taken = {name: sum(timer.quotas.values()) * rounds for name, timer in timers.items()}
    cases = {name: f"ResNet-18, B {batch}, {precision}, scaled from {count} steps" for name, count in taken.items()}
    made = [
        ratio_row(f"{name} epoch", cases[name], "erm epoch", found[name], found["erm"], _target(name, device))
        for name in METHODS
    ]
    if device.type == "cuda" and batch == 512:
        speed = [IMAGES / seconds for seconds in found["erm"]]
        row = ratio_row("erm images/s", cases["erm"], "50,000 images/s", speed, [50_000.0] * rounds, ">= 1")
        made.append({**row, "seconds": median(found["erm"])})
    return made


def _epoch(timer: StepTimer, batch: int) -> Callable[[], float]:
    return lambda: timer.expected(timer.seconds_by_branch()) * (IMAGES // batch)


def _target(name: str, device: torch.device) -> str:
    if device.type != "cuda" or name == "erm":
        return ""
    return {"augmix": "<= 3.15", "alignmix": "<= 1.07"}.get(name, "<= 1.02")
