"""Which images go into which split, and the digest that says so. Depends on names and labels only."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from bench.data.listing import Listing, Samples
from bench.errors import BadInput, nearest
from bench.rng import stream
from bench.spec import DataSpec, canonical_json

Selection = Mapping[str, np.ndarray]
""""train", "test" and maybe "validation" and "held_out": positions (int64, increasing). Validation images are positions
in the listing's train part; test and held-out images in its test part, or in the train part where there is none."""

HELD_OUT = -1
"""The label of images of held-out classes."""

SPLIT = "split"
"""Name of the random stream that chooses images. It hangs off split_seed, never off a run's seed."""


def hold_out_classes(listing: Listing, spec: DataSpec) -> Listing:
    """The listing without the names of the held-out classes; their images keep their places with label -1.

    The other classes are numbered anew in their old order. BadInput where a class is unknown or fewer than two stay.
    """
    if not spec.held_out_classes:
        return listing
    for name in spec.held_out_classes:
        if name not in listing.class_names:
            raise BadInput(f"data.held_out_classes: there is no class '{name}'; {nearest(name, listing.class_names)}")
    kept = [name for name in listing.class_names if name not in spec.held_out_classes]
    numbers = np.array([kept.index(name) if name in kept else HELD_OUT for name in listing.class_names])
    if len(kept) < 2:
        raise BadInput(
            f"data.held_out_classes: leaves {len(kept)} of {len(listing.class_names)} classes; two are needed"
        )

    def renumbered(samples: Samples) -> Samples:
        return Samples(samples.identities, numbers[samples.labels])

    test = None if listing.test is None else renumbered(listing.test)
    return Listing(tuple(kept), renumbered(listing.train), test, listing.content)


def select(listing: Listing, spec: DataSpec) -> Selection:
    """Hold out validation images, then keep train_per_class, class by class.

    Each class's training images are put in a random order keyed by (split_seed, class). The first
    max(1, round(validation * n)) are held out where validation > 0, the next train_per_class are kept for training,
    so a smaller training set is part of a larger one. In a pool without a test part all that is left is the test
    split; there train_per_class must be given. BadInput where a class runs out of images.
    """
    if listing.test is None and spec.train_per_class is None:
        raise BadInput(f"data.train_per_class: {spec.source} has no split of its own; say how many images to train on")
    train, validation, rest = [], [], []
    for label, positions in enumerate(_by_class(listing)):
        held_out = max(1, round(spec.validation * len(positions))) if spec.validation else 0
        wanted = spec.train_per_class if spec.train_per_class is not None else max(1, len(positions) - held_out)
        needed = held_out + wanted + (1 if listing.test is None else 0)
        if needed > len(positions):
            raise BadInput(_too_few(listing, spec, label, len(positions), held_out, wanted))
        order = positions[_shuffled(spec.split_seed, label, len(positions))]
        validation.append(order[:held_out])
        train.append(order[held_out : held_out + wanted])
        rest.append(order[held_out + wanted :])
    chosen = {"train": np.sort(np.concatenate(train))}
    if spec.validation:
        chosen["validation"] = np.sort(np.concatenate(validation))
    if listing.test is None:
        chosen["test"] = np.sort(np.concatenate(rest))
    else:
        chosen["test"] = np.flatnonzero(listing.test.labels != HELD_OUT)
    if spec.held_out_classes:
        chosen["held_out"] = np.flatnonzero(samples_of(listing, "held_out").labels == HELD_OUT)
    return chosen


def samples_of(listing: Listing, split: str) -> Samples:
    """The part of a listing that a split's positions point into."""
    return listing.test if split in ("test", "held_out") and listing.test is not None else listing.train


def digest_of(listing: Listing, selection: Selection) -> str:
    """32 hex digits of which images with which labels are in which split, and of the class names in order."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(canonical_json(["splits", 1, listing.content, list(listing.class_names)]).encode())
    for split in sorted(selection):
        samples, positions = samples_of(listing, split), selection[split]
        digest.update(f"\n\n{split} {len(positions)}\n".encode())
        lines = (f"{label}\t{samples.identities[position]}" for position, label in
                 zip(positions.tolist(), samples.labels[positions].tolist(), strict=True))  # fmt: skip
        digest.update("\n".join(lines).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _by_class(listing: Listing) -> list[np.ndarray]:
    labels = listing.train.labels
    order = np.argsort(labels, kind="stable")[np.count_nonzero(labels == HELD_OUT) :]
    counts = np.bincount(labels[labels != HELD_OUT], minlength=len(listing.class_names))
    return np.split(order, np.cumsum(counts)[:-1])


def _shuffled(split_seed: int, label: int, count: int) -> np.ndarray:
    return np.argsort(stream(split_seed, SPLIT, label).generator().random(count), kind="stable")


def _too_few(listing: Listing, spec: DataSpec, label: int, count: int, held_out: int, wanted: int) -> str:
    name = listing.class_names[label]
    if spec.train_per_class is None:
        return f"data.validation {spec.validation} leaves no training image of class '{name}', which has {count}"
    most = count - held_out - (1 if listing.test is None else 0)
    extra = f", {held_out} of them held out for validation" if held_out else ""
    left = " and one must be left to test on" if listing.test is None else ""
    return (
        f"data.train_per_class {wanted} is more than class '{name}' has: {count} images{extra}{left}; "
        f"{'use at most ' + str(most) if most > 0 else 'give it more images or hold out fewer'}"
    )
