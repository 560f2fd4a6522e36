"""Images in class folders as an evaluation feed, brought to size as the run's own test images are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.data.augment import resize
from bench.data.decode import UnreadableImage, fit, open_image, to_array
from bench.data.image_tree import find_images
from bench.data.resident import checked
from bench.data.streaming import StreamingEval
from bench.data.streaming_worker import evaluation_crop
from bench.data.threads import usable_cores
from bench.errors import BadInput, nearest
from bench.evals.api import EvalFeed, Transform

Crop = Callable[[Image.Image], Image.Image]
"""A decoded image to one of `Target.side` x `Target.side` pixels; UnreadableImage where it is not fit for that."""


class Target(NamedTuple):
    """The sizes of a run's test images: channels and side as stored, and the side that the network sees."""

    channels: int
    side: int
    resolution: int


@dataclass(frozen=True)
class LabelledFiles:
    """Image files, by class and then by path, with labels (N,) int64."""

    files: Sequence[Path]
    labels: Tensor


def target_of(feed: EvalFeed) -> Target:
    """The sizes of the images that `feed` holds. Those not stored as squares count as stored at the resolution."""
    if isinstance(feed, StreamingEval) and feed.native is not None:  # a first batch would start its worker processes
        channels, side = feed.native[:2]
        return Target(channels, side, side)
    channels, _, resolution = next(iter(feed.batches(1)))[0].shape[1:]
    square = feed.native is not None and feed.native[1] == feed.native[2]
    return Target(channels, feed.native[1] if square and feed.native else resolution, resolution)


def evaluation_crop_of(feed: EvalFeed) -> Crop:
    """What turns a file into an image like those of `feed`.

    For data that are streamed, resize and centre crop with ImageNet's margin (bench.data.streaming_worker); for all
    others the shorter side is resized to the stored side and the centre cut out (bench.data.folder).
    """
    side = target_of(feed).side
    if isinstance(feed, StreamingEval):
        return lambda image: evaluation_crop(image, side)
    return lambda image: fit(image, side, side)


def read_class_folders(folder: Path, class_names: Sequence[str]) -> LabelledFiles:
    """The images below folder/<class>/, each class one of `class_names`; not every class need be there.

    BadInput for a missing folder, one without classes, images outside class folders, an empty class, and a class that
    the run does not have, with the nearest that it has.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}: there is no such folder; expected <class>/ folders with images")
    tree = find_images(folder)
    if not tree.classes:
        raise BadInput(f"{folder}: has no class folders; expected <class>/ folders with images")
    if tree.loose:
        raise BadInput(f"{folder / tree.loose[0].path}: lies outside the class folders ({len(tree.loose)} such images)")
    check_known(folder, tree.classes, class_names)
    empty = [name for name, files in tree.classes.items() if not files]
    if empty:
        raise BadInput(f"{folder / empty[0]}: has no images ({len(empty)} such class folders)")
    numbers = {name: number for number, name in enumerate(class_names)}
    ordered = sorted(tree.classes, key=numbers.__getitem__)
    files = [folder / file.path for name in ordered for file in tree.classes[name]]
    labels = [numbers[name] for name in ordered for _ in tree.classes[name]]
    return LabelledFiles(files, torch.tensor(labels, dtype=torch.int64))


def check_known(folder: Path, found: Sequence[str] | dict[str, list], class_names: Sequence[str]) -> None:
    """BadInput where a class folder's name in `found` is none of the run's classes."""
    unknown = sorted(set(found) - set(class_names))
    if unknown:
        more = f" nor {len(unknown) - 1} more that lie there" if len(unknown) > 1 else ""
        raise BadInput(f"{folder}: the run has no class '{unknown[0]}'{more}; {nearest(unknown[0], class_names)}")


class ImageFolderFeed:
    """An EvalFeed over image files: decoded by threads, the next batch while one is at work; nothing else is kept.

    crop: brings a decoded image to `target.side`. A transform is given images of that size. BadInput names a file that
    cannot be decoded.
    """

    def __init__(self, images: LabelledFiles, target: Target, crop: Crop, device: torch.device) -> None:
        self.files, self.labels = images.files, images.labels
        self.target, self.crop, self.device = target, crop, device
        self.size = len(images.files)
        self.native: tuple[int, int, int] | None = (target.channels, target.side, target.side)

    def chosen(self, positions: Tensor) -> ImageFolderFeed:
        """A feed over the images at `positions` (M,) alone, numbered anew from 0."""
        images = LabelledFiles([self.files[position] for position in positions.tolist()], self.labels[positions])
        return ImageFolderFeed(images, self.target, self.crop, self.device)

    def batches(self, batch_size: int, transform: Transform | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels in order."""
        pool = ThreadPoolExecutor(usable_cores())
        try:
            starts = range(0, self.size, batch_size)
            ahead = self._submitted(pool, 0, batch_size)
            for start in starts:
                futures, ahead = ahead, self._submitted(pool, start + batch_size, batch_size)
                images = torch.from_numpy(np.stack([future.result() for future in futures])).to(self.device)
                positions = torch.arange(start, start + len(images), device=self.device)
                if transform is not None:
                    images = checked(transform(images, positions), images.shape)
                labels = self.labels[start : start + batch_size].to(self.device)
                yield resize(images, self.target.resolution), labels
        finally:
            pool.shutdown(cancel_futures=True)

    def _submitted(self, pool: ThreadPoolExecutor, start: int, count: int) -> list[Future[np.ndarray]]:
        return [pool.submit(self._image, file) for file in self.files[start : start + count]]

    def _image(self, file: Path) -> np.ndarray:
        try:
            return to_array(self.crop(open_image(file, self.target.channels)))
        except UnreadableImage as reason:
            raise BadInput(f"{file}: this image cannot be used ({reason})") from None
