"""Where the time of a step goes: a separate eager pass that stops the clock between the trainer's own pieces."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch

from bench.speed.step_timer import StepTimer

PHASES: tuple[str, ...] = ("data", "mixing", "forward", "backward", "optimiser", "other")
"""data: the next batch, cropped and flipped. mixing: the method's draws and views. forward: with the loss and its
mixing of features. backward: with loss scaling. optimiser: the whole update. other: what lies between them."""
_ENDS = {"data": "data", "backward": "backward", "step": "other"}
_OF_PIECE = {"prepare": "mixing", "draws": "mixing", "views": "mixing", "loss": "forward", "update": "optimiser"}


class PhaseClock:
    """Adds up what passes between marks, under the name of the phase that a mark ends."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._marks: list[tuple[str, Any]] = []

    def mark(self, phase: str) -> None:
        """End a phase here. On a GPU an event is put into the stream, and nothing waits."""
        if self.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append((phase, event))
        else:
            self._marks.append((phase, time.perf_counter()))

    def seconds(self) -> dict[str, float]:
        """Seconds by phase since the first mark; waits for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        found = dict.fromkeys(PHASES, 0.0)
        for (_, begin), (phase, end) in zip(self._marks, self._marks[1:], strict=False):
            found[phase] += begin.elapsed_time(end) / 1000 if self.device.type == "cuda" else end - begin
        return found


def split_step(timer: StepTimer) -> dict[str, float]:
    """Seconds of a step by phase, each the mean over the method's branches. They add up to the whole step."""
    by_branch: dict[str, dict[str, float]] = {}
    for branch, steps in timer.quotas.items():
        clock = PhaseClock(timer.device)
        with timer.eager(), _marked(timer, clock):
            _take(timer, branch, steps, clock)
        by_branch[branch] = {phase: seconds / steps for phase, seconds in clock.seconds().items()}
    return {phase: timer.expected({name: found[phase] for name, found in by_branch.items()}) for phase in PHASES}


def _take(timer: StepTimer, branch: str, steps: int, clock: PhaseClock) -> None:
    clock.mark("other")
    ends = {f"{name}_done": functools.partial(clock.mark, phase) for name, phase in _ENDS.items()}
    timer.take(branch, steps, **ends)


@contextmanager
def _marked(timer: StepTimer, clock: PhaseClock) -> Generator[None]:
    """The trainer's pieces stop the clock before and after themselves."""
    training = timer.training

    def marking(piece: Callable[..., Any], phase: str) -> Callable[..., Any]:
        def marked(*arguments: Any, **options: Any) -> Any:
            clock.mark("other")
            result = piece(*arguments, **options)
            clock.mark(phase)
            return result

        return marked

    for name, phase in _OF_PIECE.items():
        setattr(training, name, marking(getattr(training, name), phase))
    try:
        yield
    finally:
        for name in _OF_PIECE:
            delattr(training, name)
