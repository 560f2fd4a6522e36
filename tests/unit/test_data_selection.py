"""Which images end up in which split, and what the digest notices."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.facts import facts_of
from bench.data.listing import Listing, Samples, numbered
from bench.data.selection import digest_of, hold_out_classes, samples_of, select
from bench.errors import BadInput
from tests.unit.data_folders import spec_of


def listing_of(counts: list[int], pool: bool = False) -> Listing:
    labels = np.repeat(np.arange(len(counts)), counts)
    np.random.default_rng(0).shuffle(labels)
    names = tuple(f"class{label}" for label in range(len(counts)))
    return Listing(names, numbered(labels), None if pool else numbered(np.arange(len(counts))))


COUNTS = st.lists(st.integers(4, 30), min_size=2, max_size=5)


@given(COUNTS, st.integers(1, 3), st.floats(0.01, 0.25), st.integers(0, 5))
def test_splits_are_disjoint_and_balanced(counts: list[int], kept: int, share: float, seed: int) -> None:
    listing = listing_of(counts)
    spec = spec_of(train_per_class=kept, validation=share, split_seed=seed)
    try:
        chosen = select(listing, spec)
    except BadInput:
        assert any(max(1, round(share * count)) + kept > count for count in counts)
        return
    labels = listing.train.labels
    assert not set(chosen["train"]) & set(chosen["validation"])
    assert np.bincount(labels[chosen["train"]]).tolist() == [kept] * len(counts)
    assert np.bincount(labels[chosen["validation"]]).tolist() == [max(1, round(share * count)) for count in counts]
    assert all((np.diff(positions) > 0).all() for positions in chosen.values())


@given(COUNTS, st.integers(1, 3))
def test_a_pool_is_divided_completely(counts: list[int], kept: int) -> None:
    chosen = select(listing_of(counts, pool=True), spec_of("digits", train_per_class=kept))
    assert sorted([*chosen["train"], *chosen["test"]]) == list(range(sum(counts)))


def test_nothing_asked_keeps_everything() -> None:
    chosen = select(listing_of([3, 4]), spec_of())
    assert {split: len(positions) for split, positions in chosen.items()} == {"train": 7, "test": 2}


def test_a_validation_share_leaves_the_rest_for_training() -> None:
    chosen = select(listing_of([10, 20]), spec_of(validation=0.1))
    assert sorted([*chosen["train"], *chosen["validation"]]) == list(range(30))
    assert len(chosen["validation"]) == 3


def test_smaller_training_sets_are_part_of_larger_ones() -> None:
    listing = listing_of([20, 20])
    small, large = (select(listing, spec_of(train_per_class=count, validation=0.2)) for count in (3, 9))
    assert set(small["train"]) < set(large["train"])
    assert np.array_equal(small["validation"], large["validation"])


def test_the_split_seed_chooses_the_images() -> None:
    listing = listing_of([50, 50])
    chosen = [select(listing, spec_of(train_per_class=5, split_seed=seed))["train"].tolist() for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


def test_the_choice_is_pinned() -> None:
    """Another choice would give other data in an old run's name: a change needs a new number in `digest_of`."""
    labels = numbered(np.repeat([0, 1], 12))
    chosen = select(Listing(("a", "b"), labels, labels), spec_of(train_per_class=2, validation=0.1))
    assert chosen["train"].tolist() == [0, 2, 17, 19]
    assert chosen["validation"].tolist() == [6, 22]


def test_held_out_classes_are_never_trained_on() -> None:
    listing = listing_of([10, 10, 10, 10])
    spec = spec_of(validation=0.1, held_out_classes=("class1", "class3"))
    seen = hold_out_classes(listing, spec)
    chosen = select(seen, spec)
    assert seen.class_names == ("class0", "class2")
    for split, kept in {"train": {0, 2}, "validation": {0, 2}, "test": {0, 2}, "held_out": {1, 3}}.items():
        old, new = samples_of(listing, split).labels, samples_of(seen, split).labels
        assert set(old[chosen[split]].tolist()) == kept
        assert [{0: 0, 1: -1, 2: 1, 3: -1}[label] for label in old.tolist()] == new.tolist()
    assert facts_of(seen, chosen).sizes == {"train": 18, "validation": 2, "test": 2, "held_out": 2}


def test_held_out_classes_of_a_pool_are_all_their_images() -> None:
    spec = spec_of("digits", train_per_class=4, held_out_classes=("class0",))
    pool = listing_of([5, 6, 7], pool=True)
    chosen = select(hold_out_classes(pool, spec), spec)
    assert np.array_equal(chosen["held_out"], np.flatnonzero(pool.train.labels == 0))
    assert sorted([*chosen["train"], *chosen["test"]]) == np.flatnonzero(pool.train.labels != 0).tolist()


def test_wrong_held_out_classes_are_named() -> None:
    with pytest.raises(BadInput, match=r"held_out_classes: there is no class 'clas1'; did you mean 'class1'"):
        hold_out_classes(listing_of([5, 5, 5]), spec_of(held_out_classes=("clas1",)))
    with pytest.raises(BadInput, match=r"leaves 1 of 3 classes; two are needed"):
        hold_out_classes(listing_of([5, 5, 5]), spec_of(held_out_classes=("class0", "class1")))


def test_asking_for_too_many_says_how_many_there_are() -> None:
    with pytest.raises(BadInput, match=r"train_per_class 5 is more than class 'class1' has: 4 images; use at most 4"):
        select(listing_of([5, 4]), spec_of(train_per_class=5))
    with pytest.raises(BadInput, match=r"4 images, 1 of them held out for validation; use at most 3"):
        select(listing_of([5, 4]), spec_of(train_per_class=4, validation=0.1))
    with pytest.raises(BadInput, match=r"one must be left to test on; use at most 3"):
        select(listing_of([5, 4], pool=True), spec_of("digits", train_per_class=4))
    with pytest.raises(BadInput, match=r"leaves no training image of class 'class1', which has 1"):
        select(listing_of([5, 1]), spec_of(validation=0.5))
    with pytest.raises(BadInput, match="give it more images"):
        select(listing_of([5, 1]), spec_of(train_per_class=1, validation=0.5))


def test_a_pool_needs_to_know_how_many_to_train_on() -> None:
    with pytest.raises(BadInput, match=r"data.train_per_class: digits has no split of its own"):
        select(listing_of([5, 5], pool=True), spec_of("digits"))


def digest(listing: Listing, **changes: object) -> str:
    return digest_of(listing, select(listing, spec_of(**changes)))


def test_the_digest_notices_every_change_of_the_splits() -> None:
    listing = listing_of([20, 20])
    relabelled = listing.train.labels.copy()
    relabelled[[0, 1]] = relabelled[[1, 0]] if relabelled[0] != relabelled[1] else 1 - relabelled[[0, 1]]
    renamed = [*listing.train.identities[:-1], "another"]
    digests = [
        digest(listing),
        digest(listing, train_per_class=5),
        digest(listing, train_per_class=5, split_seed=1),
        digest(listing, validation=0.1),
        digest(dataclasses.replace(listing, content="pixels")),
        digest(dataclasses.replace(listing, class_names=("class1", "class0"))),
        digest(dataclasses.replace(listing, train=Samples(listing.train.identities, relabelled))),
        digest(dataclasses.replace(listing, train=Samples(renamed, listing.train.labels))),
        digest(dataclasses.replace(listing, test=numbered(np.array([0, 1, 1])))),
    ]
    assert len(set(digests)) == len(digests)


def test_the_digest_overlooks_what_changes_no_split() -> None:
    listing = listing_of([20, 20])
    assert digest(listing) == digest(listing, split_seed=3) == digest(listing, crop="pad", flip=True, resolution=16)


def test_facts_count_classes_and_images() -> None:
    listing = listing_of([10, 10])
    facts = facts_of(listing, select(listing, spec_of(validation=0.1)))
    assert (facts.num_classes, facts.class_names) == (2, ("class0", "class1"))
    assert facts.sizes == {"train": 18, "validation": 2, "test": 2}


def test_describing_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from bench.data import describe\n"
        "from bench.spec import DataSpec\n"
        "spec = DataSpec(source='digits', resolution=32, channels=1, mean=(0.5,), std=(0.5,), train_per_class=5)\n"
        "assert describe(spec).sizes == {'train': 50, 'test': 1747}\n"
        "assert 'torch' not in sys.modules\n"
    )
    environment = {**os.environ, "MIXBENCH_CACHE": str(tmp_path)}
    for _ in range(2):
        subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env=environment)
