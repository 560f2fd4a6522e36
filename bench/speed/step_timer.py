"""Timing of one method's complete training steps: data, views, loss, backward, optimiser."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from bench.data.open import Splits
from bench.spec import Spec
from bench.speed.branches import find_branches, quotas
from bench.speed.passes import count_all_passes
from bench.train.training import STEPS_DRAWN_AHEAD, Training
from methods.api import Method

STEADY_TOLERANCE = 0.1
"""Warm-up goes on until two successive blocks of steps differ by less than this share, at most MOST_WARMUPS blocks
after the first."""
MOST_WARMUPS = 9

MicroBatches = list[tuple[Tensor, Tensor]]
Done = Callable[[], None]


def nothing() -> None:
    """Called where nobody wants to know."""


class WarmUp(NamedTuple):
    """seconds: per step, one number a block of `steps` steps. steady: whether the last two blocks agree."""

    steps: int
    seconds: list[float]
    steady: bool


class StepTimer:
    """One method's training, whose steps are taken branch by branch.

    A method whose draws choose a branch (feature or input mixing, a layer) has steps of several costs. Each round
    times every branch and weighs it with its share of the run's steps, so that a ratio does not hang on which branches
    a round happened to draw. steps: of a round; where a method has more branches than that, it takes one step of each.
    """

    def __init__(self, spec: Spec, method: Method, splits: Splits, device: torch.device, steps: int) -> None:
        self.before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        self.training = training = Training(spec, method, splits, device)
        training.step_module.train()
        self.device = device
        self.held = 0
        self._feed = self._endless()
        first = next(self._feed)
        branches = find_branches(training, first[0][0])
        self.shares = {name: branch.share for name, branch in branches.items()}
        self.quotas = quotas(self.shares, steps)
        self._steps = {name: itertools.cycle(branch.steps) for name, branch in branches.items()}

    def seconds_by_branch(self) -> dict[str, float]:
        """Mean seconds of a step in each branch, by CUDA events on a GPU and the monotonic clock elsewhere."""
        return self.timed({name: self._block(name, count) for name, count in self.quotas.items()})

    def timed(self, blocks: dict[str, Callable[[], int]]) -> dict[str, float]:
        """Seconds of each block divided by the steps that it says it took; the GPU is waited for at the end only."""
        if self.device.type != "cuda":
            found: dict[str, float] = {}
            for name, block in blocks.items():
                started = time.perf_counter()
                steps = block()
                found[name] = (time.perf_counter() - started) / steps
            return found
        torch.cuda.synchronize(self.device)
        marks = [_mark()]
        steps = [(block(), marks.append(_mark()))[0] for block in blocks.values()]
        torch.cuda.synchronize(self.device)
        pairs = itertools.pairwise(marks)
        return {
            name: begin.elapsed_time(end) / 1000 / count
            for name, count, (begin, end) in zip(blocks, steps, pairs, strict=True)
        }

    def expected(self, by_branch: dict[str, float]) -> float:
        """A number of each branch as the mean over the run's steps."""
        return sum(self.shares[name] * value for name, value in by_branch.items())

    def warm_up(self, steps: int) -> WarmUp:
        """Take blocks of `steps` steps, every branch in each, until two in a row agree (STEADY_TOLERANCE)."""
        block = quotas(self.shares, steps)
        seconds: list[float] = []
        while len(seconds) <= MOST_WARMUPS:
            times = self.timed({name: self._block(name, count) for name, count in block.items()})
            seconds.append(self.expected(times))
            if len(seconds) > 1 and abs(seconds[-1] - seconds[-2]) <= STEADY_TOLERANCE * seconds[-2]:
                return WarmUp(sum(block.values()), seconds, True)
        return WarmUp(sum(block.values()), seconds, False)

    def settle(self) -> None:
        """Take note, after the warm-up and before another method is built, of what stays on the GPU."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            self.held = torch.cuda.memory_allocated(self.device) - self.before

    def passes_per_step(self) -> float:
        """Images sent through the network and the method's copies of it in one eager step, as a multiple of the batch,
        over all branches."""
        found: dict[str, float] = {}
        with self.eager():
            for name in self.shares:
                with count_all_passes(self.training.backbone, self.training.method) as passed:
                    images = self.take(name, 1)
                    found[name] = passed() / images
        return self.expected(found)

    def peak_memory(self) -> int | None:
        """Most bytes that this method had on the GPU during a round; None where it cannot be measured."""
        if self.device.type != "cuda":
            return None
        torch.cuda.synchronize(self.device)
        others = torch.cuda.memory_allocated(self.device) - self.held
        torch.cuda.reset_peak_memory_stats(self.device)
        self.seconds_by_branch()
        return torch.cuda.max_memory_allocated(self.device) - others

    def next_batch(self) -> MicroBatches:
        """The micro-batches of the next step, in the order of the feed."""
        return next(self._feed)

    def take(
        self,
        branch: str,
        steps: int,
        data_done: Done = nothing,
        backward_done: Done = nothing,
        step_done: Done = nothing,
    ) -> int:
        """The trainer's own steps, at places of the run whose draws take this branch; says how many images.

        Draws are made for several steps at once, as an epoch of training does it. data_done is called when a step has
        its batch, backward_done after each micro-batch, step_done after the update.
        """
        training, images = self.training, 0
        places = [next(self._steps[branch]) for _ in range(steps)]
        for number, (epoch, step) in enumerate(places):
            micro_batches = self.next_batch()
            data_done()
            if number % STEPS_DRAWN_AHEAD == 0:
                training.prepare(places[number : number + STEPS_DRAWN_AHEAD], micro_batches)
            for _loss in training.forward_backward(epoch, step, micro_batches):
                backward_done()
            training.update(0, min(step, training.steps_per_epoch - 1))
            step_done()
            images += sum(len(labels) for _, labels in micro_batches)
        return images

    @contextmanager
    def eager(self) -> Generator[None]:
        """Inside it steps are not compiled."""
        training = self.training
        compiled, training.compiled = training.compiled, training.step_module
        try:
            yield
        finally:
            training.compiled = compiled

    def _block(self, branch: str, steps: int) -> Callable[[], int]:
        def run() -> int:
            self.take(branch, steps)
            return steps

        return run

    def _endless(self) -> Iterator[MicroBatches]:
        epoch = 0
        while True:
            yield from self.training.batches(epoch)
            epoch += 1


def _mark() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event
