"""The part of a shared GPU's memory that a worker tells torch to keep to."""

from __future__ import annotations

import pytest
import torch

from bench.run.memory_share import MEMORY_FRACTION, limit_memory

CURRENT = 2


@pytest.fixture
def limits(monkeypatch) -> list[tuple[float, int]]:
    """What torch's own function, whose checks stay, would tell the driver: fractions by number of a GPU."""
    told: list[tuple[float, int]] = []
    monkeypatch.setattr(torch._C, "_cuda_setMemoryFraction", lambda *given: told.append(given), raising=False)
    monkeypatch.setattr(torch.cuda.memory, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: CURRENT)
    return told


def test_a_worker_keeps_to_its_share_on_a_gpu_with_or_without_a_number(monkeypatch, limits):
    """A worker that sees one GPU calls it "cuda", which torch takes in most places but not here."""
    monkeypatch.setenv(MEMORY_FRACTION, "0.47")
    for device in ("cuda", "cuda:1", "cpu"):
        limit_memory(torch.device(device))
    assert limits == [(0.47, CURRENT), (0.47, 1)]


def test_without_a_share_nothing_is_limited(monkeypatch, limits):
    monkeypatch.delenv(MEMORY_FRACTION, raising=False)
    limit_memory(torch.device("cuda"))
    assert limits == []
