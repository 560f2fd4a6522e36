"""List scheduling against Graham's worst case, an exhaustive search and a simulation by ticks."""

from __future__ import annotations

import itertools
import random

import pytest

from bench.sweep.schedule import list_schedule


def shortest(jobs: list[int], machines: int) -> int:
    """The best of all assignments."""
    best = sum(jobs)
    for places in itertools.product(range(machines), repeat=len(jobs)):
        loads = [0] * machines
        for job, place in zip(jobs, places, strict=True):
            loads[place] += job
        best = min(best, max(loads))
    return best


def ticking(jobs: list[int], machines: int) -> int:
    """Second by second: whoever is free takes the longest job that waits."""
    waiting, busy, time = sorted(jobs), [0] * machines, 0
    while waiting or any(busy):
        for place in range(machines):
            if not busy[place] and waiting:
                busy[place] = waiting.pop()
        time += 1
        busy = [max(0, left - 1) for left in busy]
    return time


@pytest.mark.parametrize("machines", [1, 2, 3])
def test_against_exhaustive_search_and_ticks(machines):
    draw = random.Random(7)
    for _ in range(25):
        jobs = [draw.randint(1, 9) for _ in range(draw.randint(1, 6))]
        found = list_schedule(jobs, machines)
        assert found == ticking(jobs, machines)
        assert shortest(jobs, machines) <= found <= (4 / 3 - 1 / (3 * machines)) * shortest(jobs, machines)


def test_grahams_worst_case_for_two_machines():
    assert list_schedule([3, 3, 2, 2, 2], 2) == 7
    assert shortest([3, 3, 2, 2, 2], 2) == 6


def test_ends():
    assert list_schedule([], 4) == 0
    assert list_schedule([5.5], 4) == 5.5
    with pytest.raises(ValueError, match="needs a machine"):
        list_schedule([1.0], 0)
