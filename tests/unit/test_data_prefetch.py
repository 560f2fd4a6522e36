"""Copies one batch ahead: their order, and which device gets them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bench.data import prefetch
from bench.data.prefetch import on_device, one_ahead


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
