from __future__ import annotations

import torch

from bench.data.resident import ResidentEval
from bench.evals.feed_batches import indexed_batches, sampled_batches
from methods.ops.keys import Key

IMAGES = torch.arange(200, dtype=torch.uint8)[:, None, None, None].expand(200, 1, 2, 2).contiguous()
FEED = ResidentEval(IMAGES, torch.arange(200), 2)


def test_positions_follow_the_split() -> None:
    parts = list(indexed_batches(FEED, 64))
    assert [len(labels) for _, _, labels in parts] == [64, 64, 64, 8]
    for index, images, labels in parts:
        assert torch.equal(index, labels)
        assert torch.equal(images[:, 0, 0, 0].long(), labels)


def test_samples_are_of_the_pool_without_repeats_in_a_batch() -> None:
    batches = list(sampled_batches(FEED, Key(1), pool=30, size=8, steps=40))
    assert len(batches) == 40
    for images, labels in batches:
        assert torch.equal(images[:, 0, 0, 0].long(), labels)
        assert len(set(labels.tolist())) == 8
    seen = torch.cat([labels for _, labels in batches])
    assert len(set(seen.tolist())) == 30
    assert seen.min() < 40
    assert seen.max() > 160
    again = list(sampled_batches(FEED, Key(1), pool=30, size=8, steps=2))
    assert all(torch.equal(a[1], b[1]) for a, b in zip(again, batches, strict=False))
    other = next(sampled_batches(FEED, Key(2), pool=30, size=8, steps=1))
    assert not torch.equal(other[1], batches[0][1])


def test_small_splits_give_small_batches() -> None:
    small = ResidentEval(IMAGES[:5], torch.arange(5), 2)
    (images, labels), *_ = sampled_batches(small, Key(0), pool=30, size=8, steps=1)
    assert images.shape == (5, 1, 2, 2)
    assert sorted(labels.tolist()) == list(range(5))
