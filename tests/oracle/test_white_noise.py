"""Counter-based noise: its hash against Python integers, its distribution and independence against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from methods.ops import white_noise
from methods.ops.keys import Key
from methods.ops.white_noise import draw_seeds, normal, uniform

COUNT = torch.Size([60000])


def slow_hash(value: int) -> int:
    value = ((value ^ value >> 16) * 0x7FEB352D) % 2**32
    value = ((value ^ value >> 15) * 0x846CA68B) % 2**32
    return value ^ value >> 16


def check_uniform_equals_python() -> None:
    for seeds in ([0, 0], [2**32 - 1, 2**32 - 1], [123456789, 987654321]):
        expected = [
            ((slow_hash(slow_hash((place + seeds[0]) % 2**32) ^ seeds[1]) >> 9) + 0.5) / 2**23 for place in range(24)
        ]
        assert uniform(torch.tensor(seeds), torch.Size([2, 3, 4])).flatten().tolist() == expected


def test_uniform_equals_python_integers() -> None:
    check_uniform_equals_python()


def test_products_that_leave_the_range_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(white_noise, "_times", lambda values, factor: (values * factor) >> 32)
    with pytest.raises(AssertionError):
        check_uniform_equals_python()


def test_distributions() -> None:
    for number in range(3):
        seeds = draw_seeds(Key("distribution", number), 2)
        even, bell = uniform(seeds[0], COUNT).numpy(), normal(seeds[1], COUNT).numpy()
        assert 0 < even.min() < even.max() < 1
        assert stats.kstest(even, "uniform").pvalue > 1e-3
        assert stats.kstest(bell, "norm").pvalue > 1e-3
        assert np.isfinite(bell).all()


def test_values_seeds_and_neighbours_are_uncorrelated() -> None:
    seeds = draw_seeds(Key("independent"), 3)
    first, second = normal(seeds[0], COUNT).numpy(), normal(seeds[1], COUNT).numpy()
    neighbour = normal(seeds[0] + torch.tensor([0, 1]), COUNT).numpy()
    shifted = normal(seeds[0] + torch.tensor([1, 0]), COUNT).numpy()
    bound = 4.5 / len(first) ** 0.5
    for other in (second, neighbour, first[::-1].copy(), np.roll(first, 1), np.roll(first, 64), np.roll(first, 30000)):
        for power in (1, 2):
            assert abs(np.corrcoef(first**power, other**power)[0, 1]) < bound
    assert abs(np.corrcoef(first[:30000], shifted[:30000])[0, 1]) < 4.5 / 30000**0.5


def test_an_odd_number_of_values_and_none() -> None:
    seeds = draw_seeds(Key("odd"), 1)[0]
    assert normal(seeds, torch.Size([3, 5])).shape == (3, 5)
    assert normal(seeds, torch.Size([0, 5])).shape == (0, 5)
