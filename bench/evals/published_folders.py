"""Published corruptions as image folders, such as ImageNet-C and Tiny-ImageNet-C: <corruption>/<severity>/<class>/."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from bench.data.decode import UnreadableImage, fit
from bench.errors import BadInput, nearest
from bench.evals.api import EvalFeed
from bench.evals.image_folder import ImageFolderFeed, check_known, read_class_folders, target_of

GROUPS = ("noise", "blur", "weather", "digital", "extra")
"""Folders that the published archives may unpack to, one level above the corruptions'."""
LAYOUT = "<corruption>/<severity>/<class>/ with images"


class PublishedFolders:
    """A folder of image files, the run's test images once for each corruption and severity.

    Class folders are matched to `class_names` by name; each has as many images as the class has in `test`, the run's
    test split. The files are cropped already: a square is never cropped again, only resized (Pillow's bilinear filter)
    where its side is not that of the run's test images; other shapes are BadInput.
    """

    def __init__(self, folder: Path, test: EvalFeed, class_names: Sequence[str], device: torch.device) -> None:
        if not class_names:
            raise BadInput(f"{folder}: the run's classes have no names that folders could be matched with")
        self.folder, self.class_names, self.device = folder, class_names, device
        self.counts = torch.bincount(test.labels.cpu(), minlength=len(class_names))
        self.target = target_of(test)

    def check(self, cells: Sequence[tuple[str, int]]) -> None:
        """BadInput where the folder of a (corruption, severity) is missing or has not the run's classes.

        Images are counted when the cell is read: a whole ImageNet-C has millions.
        """
        for corruption, severity in cells:
            place = self._place(corruption, severity)
            found = [unicodedata.normalize("NFC", name) for name in _sub_folders(place)]
            check_known(place, found, self.class_names)
            missing = [name for name in self.class_names if name not in set(found)]
            if missing:
                more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
                raise BadInput(
                    f"{place}: has no folder '{missing[0]}'{more}; expected one for each of the run's "
                    f"{len(self.class_names)} classes"
                )

    def feed(self, corruption: str, severity: int) -> ImageFolderFeed:
        """The images of one corruption at one severity, 1 to 5, by class and then by path."""
        place = self._place(corruption, severity)
        images = read_class_folders(place, self.class_names)
        counts = torch.bincount(images.labels, minlength=len(self.class_names))
        wrong = (counts != self.counts).nonzero()[:, 0].tolist()
        if wrong:
            label = int(wrong[0])
            raise BadInput(
                f"{place / self.class_names[label]}: has {counts[label]} images, not {self.counts[label]} as the run's "
                f"test split ({len(wrong)} of {len(self.class_names)} classes differ)"
            )
        return ImageFolderFeed(images, self.target, self._uncropped, self.device)

    def _uncropped(self, image: Image.Image) -> Image.Image:
        if image.width != image.height:
            raise UnreadableImage(f"it has {image.width}x{image.height} px; published corruptions are square")
        return fit(image, self.target.side, self.target.side)

    def _place(self, corruption: str, severity: int) -> Path:
        parents = [self.folder, *(self.folder / group for group in GROUPS)]
        found = [parent / corruption for parent in parents if (parent / corruption).is_dir()]
        if not found:
            names = [name for parent in parents if parent.is_dir() for name in _sub_folders(parent)]
            known = [name for name in names if name not in GROUPS]
            raise BadInput(
                f"{self.folder}: has no folder '{corruption}'; {nearest(corruption, known)} (expected {LAYOUT}, or "
                "arrays <corruption>.npy)"
            )
        if len(found) > 1:
            raise BadInput(f"{corruption} is there twice: {found[0]} and {found[1]}")
        place = found[0] / str(severity)
        if not place.is_dir():
            there = ", ".join(sorted(_sub_folders(found[0]))) or "no folders"
            raise BadInput(
                f"{found[0]}: has no folder '{severity}' for that severity, only {there} (expected {LAYOUT})"
            )
        return place


def _sub_folders(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    except OSError as error:
        raise BadInput(f"{folder}: cannot be read ({error.strerror or error})") from None
