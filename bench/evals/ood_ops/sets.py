"""Open a set of out-of-distribution images as a feed like those of the data."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from bench.errors import BadInput
from bench.evals.api import Context, EvalFeed
from bench.evals.ood_ops.feed import LoadedFeed
from bench.evals.ood_ops.generated import generate
from bench.evals.ood_ops.names import HELD_OUT, SetName
from bench.evals.ood_ops.pictures import FolderPictures, TorchvisionPictures, check_channels, picture_loader


@dataclass(frozen=True)
class SetOptions:
    """generated: images in a generated set. seed: of its draws. crop_share and convert: how pictures are prepared."""

    generated: int
    seed: int
    crop_share: float
    convert: bool


class SetOpener:
    """Opens sets at the size of a run's test images: stored size first, then resized as those are."""

    def __init__(self, context: Context, options: SetOptions) -> None:
        self.context, self.options = context, options
        test = context.split("test")
        seen = next(iter(test.batches(1)))[0].shape
        self.resolution = seen[-1]
        self.native = test.native or (seen[1], seen[2], seen[3])

    def open(self, name: SetName) -> EvalFeed | None:
        """The feed of a set; None for held-out classes in a run without any. BadInput where a set cannot be had."""
        if name.kind == HELD_OUT:
            return self.context.splits.get(HELD_OUT)
        device, options = self.context.device, self.options
        if name.kind == "generated":
            load = functools.partial(generate, name.name, options.seed, shape=self.native)
            return LoadedFeed(options.generated, self.native, self.resolution, device, load)
        channels, height, width = self.native
        if height != width:
            raise BadInput(f"ood: {name.label}: pictures are cut square, the test images are {height}x{width}")
        pictures = FolderPictures(name.place) if name.kind == "folder" else TorchvisionPictures(name.name, name.place)
        check_channels(name.label, pictures, channels, options.convert)
        loader = picture_loader(pictures, self.native, options.crop_share, device)
        return LoadedFeed(pictures.size, self.native, self.resolution, device, loader)
