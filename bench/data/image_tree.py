"""Find the images below a folder: its sub-folders are classes, at any depth below them lie images."""

from __future__ import annotations

import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from bench.data.progress import Progress
from bench.errors import BadInput

log = logging.getLogger("mixbench.data")

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff", ".webp")
"""In lower case; files called `.JPG` count too. Files with other endings are passed over."""
UNREAD_SUFFIXES = (".heic", ".heif", ".avif", ".jfif", ".jp2", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw")
"""Endings of pictures among them: who has such files thinks that they count."""
MANY = 500
"""Classes from which on a search says how far it is."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """path: below the folder searched, with "/". modified: nanoseconds. size: bytes."""

    path: str
    size: int
    modified: int

    @property
    def identity(self) -> str:
        """The path in Unicode's composed form, the same on systems that store names decomposed."""
        return unicodedata.normalize("NFC", self.path)


@dataclass
class ImageTree:
    """classes: the sub-folders' names with their images, sorted by name. loose: images outside them.

    folders: every folder looked into, with its time of change in nanoseconds. passed: how many files with which of the
    UNREAD_SUFFIXES were passed over.
    """

    classes: dict[str, list[ImageFile]] = field(default_factory=dict)
    loose: list[ImageFile] = field(default_factory=list)
    folders: dict[str, int] = field(default_factory=dict)
    passed: Counter[str] = field(default_factory=Counter)


def find_images(folder: Path) -> ImageTree:
    """Search a folder. Names sort by code point, whatever the file system's order.

    Hidden files and folders (a leading dot) are passed over; links to files and folders are followed. BadInput, naming
    the path, for a link that leads nowhere or round in a circle, and for what may not be read.
    """
    tree = ImageTree()
    found = list(_entries(folder, "", tree))
    with Progress(f"searching {folder}", len(found), "folders") if len(found) >= MANY else nullcontext() as progress:
        for name, entry in found:
            if entry.is_dir():
                class_name = unicodedata.normalize("NFC", name)
                if class_name in tree.classes:
                    raise BadInput(f"{folder}: two folders are called '{class_name}' in different Unicode forms")
                tree.classes[class_name] = _sorted(_below(folder, name, tree, [_place(folder)]))
            elif _is_image(name):
                tree.loose.append(_image_file(entry, name))
            else:
                _pass_over(name, tree)
            if progress is not None:
                progress.advance(1)
    tree.classes = dict(sorted(tree.classes.items()))
    tree.loose = _sorted(tree.loose)
    if tree.passed:
        endings = ", ".join(f"{count} {ending}" for ending, count in sorted(tree.passed.items()))
        log.warning("%s: passed over %s; save such pictures as JPEG or PNG if they are to count", folder, endings)
    return tree


def folders_unchanged(folder: Path, folders: dict[str, int]) -> bool:
    """Whether every folder of an earlier search still has its time of change: nothing added, removed or renamed."""
    try:
        return bool(folders) and all((folder / path).stat().st_mtime_ns == time for path, time in folders.items())
    except OSError:
        return False


def _below(root: Path, folder: str, tree: ImageTree, above: list[tuple[int, int]]) -> Iterator[ImageFile]:
    place = _place(root / folder)
    if place in above:
        raise BadInput(f"{root / folder}: this link leads back to a folder that it lies in; remove it")
    for name, entry in _entries(root, folder, tree):
        path = f"{folder}/{name}"
        if entry.is_dir():
            yield from _below(root, path, tree, [*above, place])
        elif _is_image(name):
            yield _image_file(entry, path)
        else:
            _pass_over(name, tree)


def _entries(root: Path, folder: str, tree: ImageTree) -> Iterator[tuple[str, os.DirEntry[str]]]:
    place = root / folder
    try:
        tree.folders[folder] = place.stat().st_mtime_ns
        with os.scandir(place) as entries:
            found = list(entries)
    except OSError as error:
        raise BadInput(f"{place}: cannot be read ({error.strerror or error})") from None
    for entry in found:
        if entry.is_symlink() and not Path(entry.path).exists():
            raise BadInput(f"{entry.path}: this link leads to nothing")
        if not entry.name.startswith("."):
            yield entry.name, entry


def _image_file(entry: os.DirEntry[str], path: str) -> ImageFile:
    try:
        status = entry.stat()
    except OSError as error:
        raise BadInput(f"{entry.path}: cannot be read ({error.strerror or error})") from None
    return ImageFile(path, status.st_size, status.st_mtime_ns)


def _pass_over(name: str, tree: ImageTree) -> None:
    ending = Path(name).suffix.lower()
    if ending in UNREAD_SUFFIXES:
        tree.passed[ending] += 1


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def _sorted(files: Iterator[ImageFile] | list[ImageFile]) -> list[ImageFile]:
    return sorted(files, key=lambda file: file.identity)


def _place(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
