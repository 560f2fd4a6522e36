"""What a data set holds, told without torch where that is possible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.data.listing import Listing
from bench.data.selection import Selection, digest_of, hold_out_classes, select
from bench.data.sources import find_source
from bench.spec import DataSpec


@dataclass(frozen=True)
class DataFacts:
    """digest: which images with which labels are in which split. sizes: images of each split:
    "train", "test", maybe "validation" and "held_out".

    The digest is independent of platform, file-system order and place of the data. What stands for an image: its
    content and position (digits, CIFAR); path below train/ or test/, size and content hash (folder); path and size
    (streaming folders and WebDataset shards, since reading all of ImageNet would take too long); position, file name
    and size (Hugging Face).
    """

    digest: str
    num_classes: int
    class_names: tuple[str, ...]
    sizes: Mapping[str, int]


def describe(spec: DataSpec) -> DataFacts:
    """Look at the data that a spec names; quick the second time. BadInput says what is wrong with them.

    Listings and hashes are kept in the cache folder and checked against the files' sizes and times of change. CIFAR is
    downloaded when missing. Needs torch for CIFAR's first time and for Hugging Face data sets only.
    """
    listing = hold_out_classes(find_source(spec).listing(), spec)
    return facts_of(listing, select(listing, spec))


def facts_of(listing: Listing, selection: Selection) -> DataFacts:
    """The facts of a listing and a selection from it."""
    sizes = {split: len(positions) for split, positions in selection.items()}
    return DataFacts(digest_of(listing, selection), len(listing.class_names), listing.class_names, sizes)
