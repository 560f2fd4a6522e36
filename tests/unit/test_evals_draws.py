from __future__ import annotations

import numpy as np
import torch
from scipy import stats

from bench.evals.draws import ImageDraws
from methods.ops.keys import Key

KEY = Key(3, "corruption", 2)
MASK = 2**64 - 1


def mix(bits: int) -> int:
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & MASK
    return bits ^ (bits >> 31)


def reference_words(index: int, name: str, count: int) -> list[int]:
    golden = 0x9E3779B97F4A7C15
    start = mix(mix(KEY.fold(name).integer()) ^ mix(index * golden & MASK))
    words = []
    for place in range(1, count // 2 + 1):
        bits = mix((start + place * golden) & MASK)
        words += [bits >> 32, bits & 0xFFFFFFFF]
    return words


def test_mixing_is_splitmix64() -> None:
    assert mix(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF  # first output of SplitMix64 seeded with 0


def test_words_equal_plain_integer_arithmetic() -> None:
    index = [0, 1, 49_999, 2**40 + 7]
    words = ImageDraws(KEY, torch.tensor(index)).words("noise", 2, 3)
    assert words.flatten(1).tolist() == [reference_words(place, "noise", 6) for place in index]


def test_batch_size_and_order_change_nothing() -> None:
    whole = ImageDraws(KEY, torch.arange(20)).normal("noise", 3, 5, 5)
    order = torch.tensor([7, 3, 19])
    assert torch.equal(ImageDraws(KEY, order).normal("noise", 3, 5, 5), whole[order])


def test_names_and_keys_are_streams_of_their_own() -> None:
    index = torch.arange(4)
    draws = ImageDraws(KEY, index)
    other = ImageDraws(KEY.fold(1), index)
    first = draws.uniform("a", 8)
    assert torch.equal(first, draws.uniform("a", 8))
    for different in (draws.uniform("b", 8), other.uniform("a", 8)):
        assert not (first == different).any()


def test_distributions() -> None:
    draws = ImageDraws(KEY, torch.arange(64))
    uniform = draws.uniform("u", 1000)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert stats.kstest(uniform.flatten().numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest(draws.normal("n", 1000).flatten().numpy(), "norm").pvalue > 1e-3
    counts = np.bincount(draws.integers("i", 7, 1000).flatten().numpy(), minlength=7)
    assert len(counts) == 7
    assert stats.chisquare(counts).pvalue > 1e-3


def test_numbers_are_independent_within_and_between_images() -> None:
    normal = ImageDraws(KEY, torch.arange(256)).normal("n", 256).double()
    bound = 4.5 / 256  # sd of a correlation of 256 x 255 pairs is 1/256
    for shifted, still in (
        (normal[:, 1:], normal[:, :-1]),
        (normal[1:], normal[:-1]),
        (normal[:, 1::2], normal[:, ::2]),
    ):
        both = torch.stack((shifted.flatten(), still.flatten()))
        assert torch.corrcoef(both)[0, 1].abs() < bound
        assert torch.corrcoef(both.square())[0, 1].abs() < bound
