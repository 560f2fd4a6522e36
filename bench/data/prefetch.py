"""Copies to an accelerator that run beside its work, one batch ahead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor


class Copies(Protocol):
    """A way to copy batches to a device."""

    def start(self, batch: Tensor) -> Tensor:
        """Begin to copy a batch; what is returned may not be read yet."""
        ...

    def finish(self) -> None:
        """Make the device's coming work wait for the copy that was begun first among those not finished."""
        ...


def one_ahead(batches: Iterable[Tensor], copies: Copies) -> Iterator[Tensor]:
    """The batches on the device, in order; while one is worked on, the next one is already on its way."""
    waiting: list[Tensor] = []
    for batch in batches:
        waiting.append(copies.start(batch))
        if len(waiting) > 1:
            copies.finish()
            yield waiting.pop(0)
    for copied in waiting:
        copies.finish()
        yield copied


class CudaCopies:
    """Copies on a stream of their own. They run beside kernels when the batches lie in pinned memory."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)
        self.started: list[tuple[Tensor, torch.cuda.Event]] = []

    def start(self, batch: Tensor) -> Tensor:
        """See Copies."""
        with torch.cuda.stream(self.stream):
            copied = batch.to(self.device, non_blocking=True)
            done = torch.cuda.Event()
            done.record(self.stream)
        self.started.append((copied, done))
        return copied

    def finish(self) -> None:
        """See Copies."""
        copied, done = self.started.pop(0)
        working = torch.cuda.current_stream(self.device)
        working.wait_event(done)
        copied.record_stream(working)  # else the memory could be handed out again while kernels still read it


def on_device(batches: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
    """Batches of the CPU on a device: one ahead on CUDA, else one after the other."""
    if device.type == "cuda":
        return one_ahead(batches, CudaCopies(device))
    return (batch.to(device) for batch in batches)
