"""Which rank has which images and draws; what a checkpoint keeps for each."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from bench.config.catalogue import method_names
from bench.data.feeds import order_of_rows
from bench.data.open import open_data
from bench.errors import BadInput
from bench.run.build import build_method
from bench.spec import MethodSpec, ProtocolSpec
from bench.train.rank_key import RankKey
from bench.train.ranks import Ranks, parts_of, rows_of
from methods.api import BatchShape
from methods.ops.keys import Key
from methods.ops.mixing import draw_lam, draw_permutation
from tests.unit.shared_training import CPU, DATA, make


@pytest.mark.parametrize(
    ("world_size", "processes", "size", "accumulation"), [(1, 1, 7, 1), (2, 2, 5, 1), (3, 3, 20, 2), (5, 2, 24, 2), (4, 1, 9, 1)]
)  # fmt: skip
def test_the_ranks_have_every_image_once_and_together_its_mean(world_size, processes, size, accumulation):
    every = [parts_of(Ranks(world_size, p, processes), size, accumulation) for p in range(processes)]
    images = np.concatenate([rows_of(parts) for parts in every])
    assert sorted(images) == list(range(size))
    assert sorted({part.rank for parts in every for part in parts}) == list(range(world_size))
    losses = np.random.default_rng(0).random(size)
    mean = lambda part: losses[part.start : part.stop].mean()  # noqa: E731
    gradients = [sum(mean(part) / part.divisor for part in parts) for parts in every]
    chunks = [chunk.mean().item() for chunk in torch.from_numpy(losses).chunk(accumulation)]
    assert np.mean(gradients) == pytest.approx(np.mean(chunks))
    weighted = [(part.weight * mean(part), part.weight) for parts in every for part in parts]
    assert sum(w for w, _ in weighted) / sum(w for _, w in weighted) == pytest.approx(np.mean(chunks))
    lengths = [part.stop - part.start for parts in every for part in parts]
    assert max(lengths) - min(lengths) <= 1


def test_one_rank_is_as_if_there_were_no_ranks():
    parts = parts_of(Ranks(), 12, 3)
    assert [(part.start, part.stop, part.weight, part.divisor) for part in parts] == [
        (0, 4, 1, 3), (4, 8, 1, 3), (8, 12, 1, 3),
    ]  # fmt: skip
    assert [part.divisor for part in parts_of(Ranks(), 12, 1)] == [1]


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="3 images are too few for 2 ranks"):
        parts_of(Ranks(2), 3, 1)
    plain = {"epochs": 1, "learning_rate": 0.1}
    with pytest.raises(ValidationError, match="batch_size 7 leaves less than 2 images to a rank of world_size 4"):
        ProtocolSpec(**plain, batch_size=7, world_size=4)
    with pytest.raises(ValidationError, match="a micro-batch of 4 images leaves less than 2"):
        ProtocolSpec(**plain, batch_size=16, accumulation=4, world_size=4)
    with pytest.raises(ValidationError, match="needs world_size above 1"):
        ProtocolSpec(**plain, batch_size=16, sync_batchnorm=True)


def test_rows_of_an_order_are_those_of_its_full_batches():
    order = np.random.default_rng(1).permutation(23)
    rows = np.array([4, 0, 3])
    expected = [order[batch * 5 + row] for batch in range(4) for row in rows]
    assert list(order_of_rows(order, 5, rows)) == expected
    assert list(order_of_rows(order, 50, rows)) == [order[row] for row in rows]


def draws_of(method, step: int, rank: int, size: int):
    key = RankKey(3, "method", 0, step, 0, rank=rank)
    return method.draw(key, BatchShape(size, 3, 64, 64, 0.5))


@pytest.mark.parametrize("implementation", method_names())
def test_ranks_share_the_branch_and_single_numbers_and_have_partners_of_their_own(implementation):
    """With parts of different size. lam () is drawn once a step, permutations and lam (B,) by each rank."""
    method = build_method(MethodSpec(implementation=implementation))
    differ: dict[str, bool] = {}
    for step in range(24):
        pair = [draws_of(method, step, rank, size) for rank, size in ((0, 8), (1, 9))]
        same_size = draws_of(method, step, 1, 8)
        assert pair[0].branch == pair[1].branch == same_size.branch
        assert pair[0].tensors.keys() == pair[1].tensors.keys()
        for name, first in pair[0].tensors.items():
            second = same_size[name]
            if name.startswith("lam") and first.ndim == 0:
                assert torch.equal(first, pair[1][name]), name
            if first.shape == second.shape and first.ndim and len(first) == 8:
                differ[name] = differ.get(name, False) or not torch.equal(first, second)
    assert all(differ.values()), differ
    if "permutation" in draws_of(method, 0, 0, 8).tensors:
        assert "permutation" in differ


def test_what_a_rank_draws_is_told_by_hand():
    """lam from the step's stream, the permutation from the rank's; a lam for each image from the rank's."""
    for rank in range(3):
        key = RankKey(3, "method", 1, 2, 0, rank=rank)
        assert torch.equal(draw_lam(key, 0.7), draw_lam(Key(3, "method", 1, 2, 0), 0.7))
        own = Key(3, "method", 1, 2, 0, "permutation", "rank", rank).generator().permutation(9)
        assert np.array_equal(draw_permutation(key, 9).numpy(), own)
        each = Key(3, "method", 1, 2, 0, "lam", "rank", rank).generator().beta(0.7, 0.7, 9)
        assert torch.equal(draw_lam(key, 0.7, 9), torch.from_numpy(each.astype(np.float32)))


def test_draws_of_different_length_leave_the_shared_stream_in_step():
    generators = [RankKey("x", rank=rank).generator() for rank in range(2)]
    first = [generator.uniform(1, 2) for generator in generators]
    arrays = [generator.random(size) for generator, size in zip(generators, (4, 7), strict=True)]
    second = [generator.uniform(1, 2) for generator in generators]
    assert first[0] == first[1]
    assert second[0] == second[1]
    assert not np.array_equal(arrays[0], arrays[1][:4])
    assert math.isclose(
        np.corrcoef(*(RankKey("y", rank=r).generator().random(4000) for r in (0, 1)))[0, 1], 0, abs_tol=0.06
    )


def test_the_key_of_a_rank_is_no_other_key():
    keys = [RankKey("a", rank=0), RankKey("a", rank=1), RankKey("b", rank=0), Key("a")]
    assert len({key.integer() for key in keys}) == 4
    assert all(not np.array_equal(a.fold("x").generator().random(3), b.fold("x").generator().random(3))
               for a, b in itertools.combinations(keys, 2))  # fmt: skip


def test_synchronised_statistics_need_gpus_and_a_process_for_each_rank():
    splits = open_data(DATA, CPU)
    case = ("c", "erm", {}, "test_resnet", {"sync_batchnorm": True})
    with pytest.raises(BadInput, match=r"protocol\.sync_batchnorm: needs a process for each of 2 ranks, not 1"):
        make(case, splits)
    with pytest.raises(BadInput, match=r"protocol\.sync_batchnorm: needs GPUs, not the cpu"):
        make(case, splits, Ranks(2, 0, 2))
    with pytest.raises(BadInput, match=r"protocol\.world_size: 10 images are too few for 6 ranks; .* split has 10"):
        make(("c", "erm", {}, "test_resnet", {"world_size": 6, "batch_size": 12}), splits)
