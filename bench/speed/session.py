"""One interleaved timing session over the methods of one cell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.backbones.stages import StageRefused
from bench.data.open import Splits
from bench.env import hardware, provenance
from bench.records.writer import RecordWriter
from bench.spec import Spec
from bench.train.settings import library_settings
from bench.train.training import Skipped, Training
from methods.api import Method

STEADY_TOLERANCE = 0.1
"""Warm-up goes on until two successive rounds of a method differ by less than this share, at most five times."""
MOST_WARMUPS = 5


class StepTimer:
    """Times complete training steps of one method: data, views, loss, backward, optimiser."""

    def __init__(self, spec: Spec, method: Method, splits: Splits, device: torch.device) -> None:
        self.before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        self.training = Training(spec, method, splits, device)
        self.training.step_module.train()
        self.device = device
        self.held = 0
        self._batches = self._endless()
        self._epoch = 0
        self._step = 0

    def seconds_per_step(self, steps: int) -> float:
        """Mean seconds of `steps` steps, by CUDA events on a GPU and the monotonic clock elsewhere."""
        if self.device.type == "cuda":
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            torch.cuda.synchronize(self.device)
            begin.record()
            self._run(steps)
            end.record()
            torch.cuda.synchronize(self.device)
            return begin.elapsed_time(end) / 1000 / steps
        started = time.perf_counter()
        self._run(steps)
        return (time.perf_counter() - started) / steps

    def settle(self) -> None:
        """Take note, after the warm-up and before another method is built, of what stays on the GPU."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            self.held = torch.cuda.memory_allocated(self.device) - self.before

    def passes_per_step(self) -> float:
        """Images sent through the backbone in one eager step, as a multiple of the batch, over several steps."""
        training = self.training
        compiled, training.compiled = training.compiled, training.step_module
        images = 0
        try:
            with training.backbone.count_passes() as counter:
                for _ in range(4):
                    images += self._run(1)
                return counter.images / images
        finally:
            training.compiled = compiled

    def peak_memory(self, steps: int) -> int | None:
        """Most bytes that this method had on the GPU during `steps` steps; None where it cannot be measured."""
        if self.device.type != "cuda":
            return None
        torch.cuda.synchronize(self.device)
        others = torch.cuda.memory_allocated(self.device) - self.held
        torch.cuda.reset_peak_memory_stats(self.device)
        self._run(steps)
        torch.cuda.synchronize(self.device)
        return torch.cuda.max_memory_allocated(self.device) - others

    def _run(self, steps: int) -> int:
        images = 0
        for _ in range(steps):
            micro_batches = next(self._batches)
            for _loss in self.training.forward_backward(self._epoch, self._step, micro_batches):
                pass
            self.training.update(0, min(self._step, self.training.steps_per_epoch - 1))
            self._step += 1
            images += sum(len(labels) for _, labels in micro_batches)
        return images

    def _endless(self) -> Iterator[list[tuple[Tensor, Tensor]]]:
        while True:
            yield from self.training.batches(self._epoch)
            self._epoch += 1
            self._step = 0


def time_methods(
    path: Path, specs: list[Spec], build: Callable[[Spec], Method], open_splits: Callable[[], Splits],
    device: torch.device, settings: dict[str, int], digests: dict[str, str], report: Callable[[dict[str, Any]], None],
) -> None:  # fmt: skip
    """Write a session: after warm-up, `rounds` rounds of `steps` steps of every method, the order rotated by round.

    settings: rounds, steps, warmup. digests: source digest by run id, so that a stale session is told from a current
    one. A method that cannot run here is left out, with its reason in its arm line. open_splits: gives every method a
    feed of its own where feeds have worker processes, which cannot be read in turns.
    """
    facts = provenance(device.type)
    first = specs[0]
    with library_settings(first.protocol), RecordWriter(path) as record:
        record.append(
            "begin",
            hardware=hardware(facts),
            precision=first.protocol.precision,
            torch=facts["torch_build"],
            labels=first.labels.model_dump(),
            provenance=facts,
            settings=settings,
            source_digests=digests,
            cell=first.cell,
            arms=[spec.arm for spec in specs],
            batch_size=first.protocol.batch_size,
            compile=first.protocol.compile,
            time=time.time(),
        )
        timers: dict[str, StepTimer] = {}
        total = settings["rounds"] + 1
        for spec in specs:
            try:
                timer = StepTimer(spec, build(spec), open_splits(), device)
                _warm_up(timer, settings["warmup"])
                timer.settle()
                timers[spec.arm] = timer
            except (Skipped, StageRefused) as error:
                record.append("arm", arm=spec.arm, label=spec.labels.method, skipped=str(error))
            report({"round": 0, "rounds": total})
        report({"round": 1, "rounds": total})
        names = {spec.arm: spec.labels.method for spec in specs}
        for arm, timer in timers.items():
            record.append(
                "arm",
                arm=arm,
                label=names[arm],
                passes_per_step=timer.passes_per_step(),
                peak_memory=timer.peak_memory(settings["steps"]),
                images_per_step=min(first.protocol.batch_size, timer.training.feed.size),
            )
        order = list(timers)
        for number in range(settings["rounds"]):
            shift = number % len(order)
            for arm in order[shift:] + order[:shift]:
                seconds = timers[arm].seconds_per_step(settings["steps"])
                record.append("sample", arm=arm, label=names[arm], round=number, seconds=seconds)
            report({"round": number + 2, "rounds": total})
        record.append("end", status="ok")


def _warm_up(timer: StepTimer, steps: int) -> None:
    before = timer.seconds_per_step(steps)
    for _ in range(MOST_WARMUPS):
        now = timer.seconds_per_step(steps)
        if abs(now - before) <= STEADY_TOLERANCE * before:
            return
        before = now
