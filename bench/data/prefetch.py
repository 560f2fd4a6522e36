"""Copies to an accelerator, and work on what was copied, that run beside training, one batch ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor


class Copies(Protocol):
    """A way to bring batches to a device."""

    def start(self, batch: Any) -> Tensor:
        """Begin to bring a batch there; the images that are returned may not be read yet."""
        ...

    def finish(self) -> None:
        """Make the device's coming work wait for the copy that was begun first among those not finished."""
        ...


def one_ahead(batches: Iterable[Any], copies: Copies) -> Iterator[Tensor]:
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
    """Copies on a stream of their own. They run beside kernels when the batches lie in pinned memory.

    arrive: puts a batch on the device, and may work on it there.
    """

    def __init__(self, device: torch.device, arrive: Callable[[Any], Tensor]) -> None:
        self.device, self.arrive = device, arrive
        self.stream = torch.cuda.Stream(device)
        self.started: list[tuple[Tensor, torch.cuda.Event]] = []

    def start(self, batch: Any) -> Tensor:
        """See Copies."""
        with torch.cuda.stream(self.stream):
            copied = self.arrive(batch)
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


def on_device(batches: Iterable[Any], device: torch.device, arrive: Callable[[Any], Tensor]) -> Iterator[Tensor]:
    """Batches of the CPU brought to a device by `arrive`: one ahead on CUDA, else one after the other."""
    if device.type == "cuda":
        return one_ahead(batches, CudaCopies(device, arrive))
    return (arrive(batch) for batch in batches)
