"""Copies one batch ahead: their order, and which device gets them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from bench.data import prefetch
from bench.data.prefetch import CudaCopies, on_device, one_ahead


class Diary:
    """Copies that note what happens; a copy reads -1 until it is finished."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.begun: list[tuple[Tensor, Tensor]] = []

    def start(self, batch: Tensor) -> Tensor:
        self.events.append(f"start {int(batch)}")
        copied = torch.full_like(batch, -1)
        self.begun.append((batch, copied))
        return copied

    def finish(self) -> None:
        batch, copied = self.begun.pop(0)
        self.events.append(f"finish {int(batch)}")
        copied.copy_(batch)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_batches_come_whole_and_in_order(count: int) -> None:
    made = list(one_ahead((torch.tensor(number) for number in range(count)), Diary()))
    assert [int(batch) for batch in made] == list(range(count))


def test_the_next_copy_begins_before_a_batch_is_handed_out() -> None:
    diary = Diary()
    for batch in one_ahead((torch.tensor(number) for number in range(3)), diary):
        diary.events.append(f"work {int(batch)}")
    assert diary.events == [
        "start 0", "start 1", "finish 0", "work 0", "start 2", "finish 1", "work 1", "finish 2", "work 2",
    ]  # fmt: skip


def test_only_cuda_copies_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.device] = []

    def copies(device: torch.device, arrive: object) -> Diary:
        asked.append(device)
        return Diary()

    monkeypatch.setattr(prefetch, "CudaCopies", copies)
    batches = [torch.tensor(number) for number in range(3)]
    assert [int(batch) for batch in on_device(batches, torch.device("cpu"), lambda batch: batch)] == [0, 1, 2]
    assert asked == []
    assert [int(batch) for batch in on_device(batches, torch.device("cuda", 1), lambda batch: batch)] == [0, 1, 2]
    assert asked == [torch.device("cuda", 1)]


class Stream:
    """Stands for a stream of CUDA."""

    def __init__(self, name: str, diary: list[str]) -> None:
        self.name, self.diary = name, diary

    def wait_event(self, event: Event) -> None:
        self.diary.append(f"{self.name} waits for what was recorded on {event.on}")


class Event:
    """Stands for an event of CUDA."""

    on = "nothing"

    def record(self, stream: Stream) -> None:
        self.on = stream.name


class Images:
    """Stands for a batch on the device."""

    def __init__(self, number: int, diary: list[str]) -> None:
        self.number, self.diary = number, diary

    def record_stream(self, stream: Stream) -> None:
        self.diary.append(f"memory of {self.number} is kept for {stream.name}")


def test_cuda_copies_on_a_stream_of_its_own_and_work_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With stand-ins. Memory that is not kept for the working stream could be handed out while kernels read it."""
    diary: list[str] = []

    @contextmanager
    def entered(stream: Stream) -> Iterator[None]:
        diary.append(f"on {stream.name}")
        yield
        diary.append(f"off {stream.name}")

    def arrive(number: int) -> Images:
        diary.append(f"copy {number}")
        return Images(number, diary)

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream("copying", diary))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream("working", diary))
    monkeypatch.setattr(torch.cuda, "stream", entered)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    copies = CudaCopies(torch.device("cuda"), arrive)
    for number in range(2):
        assert copies.start(number).number == number
    begun = ["on copying", "copy 0", "off copying", "on copying", "copy 1", "off copying"]
    assert diary == begun
    for _ in range(2):
        copies.finish()
    waited = "working waits for what was recorded on copying"
    assert diary[len(begun) :] == [
        waited, "memory of 0 is kept for working", waited, "memory of 1 is kept for working",
    ]  # fmt: skip
