"""Which test images are attacked, in which batches, and that no others are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from data_folders import spec_of, write_folder
from torch import nn

from bench.data.open import open_data
from bench.data.resident import ResidentEval
from bench.evals.api import Context, EvalFeed
from bench.evals.attack_ops.subset import AttackedImages


def context_of(feed: EvalFeed) -> Context:
    return Context(nn.Flatten(), lambda images: images.float(), {"test": feed}, 3, torch.device("cpu"), seed=0)


def test_subset_is_the_first_of_each_class_whatever_the_batch_size() -> None:
    images = torch.arange(12, dtype=torch.uint8)[:, None, None, None].expand(12, 1, 2, 2)
    labels = torch.tensor([0, 0, 0, 1, 2, 1, 1, 0, 2, 2, 2, 1])
    chosen = AttackedImages(context_of(ResidentEval(images, labels, 2)), 2)
    assert chosen.size == 6
    for batch_size in (1, 5, 12):
        batches = list(chosen.batches(batch_size))
        kept = torch.cat([batch.pixels[:, 0, 0, 0] * 255 for batch in batches])
        assert kept.round().int().tolist() == [0, 1, 3, 4, 5, 8]
        assert torch.cat([batch.positions for batch in batches]).tolist() == [0, 1, 3, 4, 5, 8]
        assert torch.equal(torch.cat([batch.labels for batch in batches]), labels[[0, 1, 3, 4, 5, 8]])
        assert [len(batch.labels) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)


def test_all_images_and_their_positions_where_nothing_is_left_out() -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (7, 1, 2, 2), dtype=np.uint8)
    feed = ResidentEval(torch.from_numpy(pixels), torch.zeros(7, dtype=torch.int64), 2)
    batches = list(AttackedImages(context_of(feed), 0).batches(3))
    assert [batch.positions.tolist() for batch in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    assert torch.equal(torch.cat([batch.pixels for batch in batches]), feed.images.float() / 255)


def test_only_the_attacked_images_are_decoded(tmp_path: Path) -> None:
    """Of each class's five files the last three cannot be read; positions are those in the whole split."""
    root = write_folder(tmp_path, train=1, test=5)
    feed = open_data(spec_of("streaming", root=root, workers=0)).evaluation["test"]
    whole = torch.cat([images for images, _ in feed.batches(4)])
    for file in (root / "test").glob("*/[234].png"):
        file.write_bytes(b"never read")
    batches = list(AttackedImages(context_of(feed), 2).batches(3))
    assert [batch.positions.tolist() for batch in batches] == [[0, 1, 5], [6]]
    for batch in batches:
        assert torch.equal(batch.pixels, whole[batch.positions].float() / 255)
        assert torch.equal(batch.labels, feed.labels[batch.positions])
