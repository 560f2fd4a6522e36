"""Open the data that a spec names."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch

from bench.data.facts import facts_of
from bench.data.feeds import EvalFeed, Splits
from bench.data.listing import Listing, ResidentSource, StreamingSource
from bench.data.resident import ResidentEval, ResidentTrain
from bench.data.selection import Selection, hold_out_classes, samples_of, select
from bench.data.sources import find_source
from bench.data.streaming import open_streaming
from bench.errors import BadInput
from bench.spec import DataSpec

__all__ = ["Splits", "open_data"]


def open_data(spec: DataSpec, device: torch.device | str = "cpu") -> Splits:
    """Feeds over all splits. BadInput where the data are missing, damaged or not those of `spec.digest`."""
    device = torch.device(device)
    if spec.crop == "pad" and spec.padding_mode == "reflect" and spec.crop_padding >= spec.resolution:
        most = f"{spec.resolution - 1} at most at {spec.resolution} px"
        raise BadInput(f"data.crop_padding {spec.crop_padding}: padding by reflection can be {most}")
    source = find_source(spec)
    listing = hold_out_classes(source.listing(), spec)
    selection = select(listing, spec)
    facts = facts_of(listing, selection)
    if spec.digest not in (None, facts.digest):
        raise BadInput(
            f"the data are not those that this run was planned with: digest {facts.digest}, planned {spec.digest}; "
            "restore the old data, or plan the run again"
        )
    if spec.source == "streaming":
        train, evaluation = open_streaming(spec, cast(StreamingSource, source), listing, selection, device)
    else:
        train, evaluation = _open_resident(spec, cast(ResidentSource, source), listing, selection, device)
    return Splits(train, evaluation, facts)


def _open_resident(
    spec: DataSpec, source: ResidentSource, listing: Listing, selection: Selection, device: torch.device
) -> tuple[ResidentTrain, dict[str, EvalFeed]]:
    arrays = source.arrays()
    images, labels = {}, {}
    for split, positions in selection.items():
        part = "test" if samples_of(listing, split) is listing.test else "train"
        try:
            images[split] = _on_device(arrays[part], positions, device)
        except torch.OutOfMemoryError:
            size = arrays[part].nbytes / 2**30
            raise BadInput(f"{size:.1f} GiB of images do not fit on {device}; use data.source: streaming") from None
        labels[split] = torch.from_numpy(samples_of(listing, split).labels[positions])
    train = ResidentTrain(images["train"], labels["train"].to(device), spec)
    held_out = [split for split in images if split != "train"]
    return train, {split: ResidentEval(images[split], labels[split], spec.resolution) for split in held_out}


def _on_device(array: np.ndarray, positions: np.ndarray, device: torch.device) -> torch.Tensor:
    chosen = array if len(positions) == len(array) else array[positions]
    return torch.from_numpy(chosen).to(device)
