"""The layout of a folder of images: train/<class>/ and test/<class>/ or val/<class>/."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data.cache import cache_folder, read_json, short_hash, write_json
from bench.data.image_tree import ImageFile, ImageTree, find_images, folders_unchanged
from bench.errors import BadInput

EXPECTED = "train/<class>/ and test/<class>/ (or val/<class>/) with images"
TEST_NAMES = ("test", "val", "validation")
ANNOTATIONS = "val_annotations.txt"
"""Tiny ImageNet's list of labels: its val/ has all images in one folder."""


@dataclass(frozen=True)
class FolderPart:
    """Images of one part, sorted by class and then by path. labels: (N,) int64."""

    folder: Path
    files: list[ImageFile]
    labels: np.ndarray


@dataclass(frozen=True)
class FolderLayout:
    """class_names: the names of the folders in train/, sorted by code point."""

    class_names: tuple[str, ...]
    train: FolderPart
    test: FolderPart


def read_layout(root: str | None, trust_folders: bool) -> FolderLayout:
    """Look at a data folder and check that it makes sense.

    trust_folders: take the list of files from the cache while every folder's time of change is what it was; for
    millions of files. It overlooks files overwritten in place.
    BadInput where root, train/ or a test folder is missing, a class is empty, there is one class only, images lie
    outside class folders, or the classes of train and test differ.
    """
    place = _root(root)
    train_folder = place / "train"
    if not train_folder.is_dir():
        raise BadInput(f"data.root {place}: has no folder train/; expected {EXPECTED}")
    train = _tree(train_folder, trust_folders)
    _check_classes(train_folder, train)
    names = tuple(train.classes)
    if len(names) == 1:
        raise BadInput(f"{train_folder}: has one class only ('{names[0]}'); a classifier needs two or more")
    test_folder, test = _test_tree(place, set(names), trust_folders)
    _check_classes(test_folder, test)
    _check_same_classes(train_folder, test_folder, set(names), set(test.classes))
    return FolderLayout(names, _part(train_folder, train, names), _part(test_folder, test, names))


def _root(root: str | None) -> Path:
    if root is None:
        raise BadInput(f"data.root is not set; give a folder that holds {EXPECTED}")
    place = Path(root).expanduser().absolute()
    if not place.is_dir():
        raise BadInput(f"data.root {place}: there is no such folder; expected {EXPECTED}")
    return place


def _test_tree(root: Path, classes: set[str], trust_folders: bool) -> tuple[Path, ImageTree]:
    """The first of test/, val/, validation/ that shares a class with train/, else the first there is."""
    present = [root / name for name in TEST_NAMES if (root / name).is_dir()]
    if not present:
        raise BadInput(f"data.root {root}: has neither test/ nor val/; expected {EXPECTED}")
    trees = []
    for folder in present:
        annotated = folder / ANNOTATIONS
        tree = _annotated(folder, annotated) if annotated.is_file() else _tree(folder, trust_folders)
        if classes & set(tree.classes):
            return folder, tree
        trees.append((folder, tree))
    return trees[0]


def _annotated(folder: Path, annotations: Path) -> ImageTree:
    images = {Path(file.path).name: file for files in find_images(folder).classes.values() for file in files}
    tree = ImageTree()
    for number, line in enumerate(annotations.read_text(encoding="utf-8").splitlines(), 1):
        name, *rest = line.split("\t")
        if not rest or name not in images:
            raise BadInput(f"{annotations}:{number}: names no image in {folder}/images and its class: '{line[:60]}'")
        tree.classes.setdefault(rest[0], []).append(images.pop(name))
    if images:
        raise BadInput(f"{annotations}: has no line for {len(images)} images, such as {sorted(images)[0]}")
    tree.classes = dict(sorted(tree.classes.items()))
    return tree


def _check_classes(folder: Path, tree: ImageTree) -> None:
    if not tree.classes:
        what = f"{len(tree.loose)} images but no class folders" if tree.loose else "no class folders"
        raise BadInput(f"{folder}: has {what}; sort the images into {folder.name}/<class>/")
    if tree.loose:
        raise BadInput(f"{folder / tree.loose[0].path}: lies outside the class folders ({len(tree.loose)} such images)")
    empty = [name for name, files in tree.classes.items() if not files]
    if empty:
        raise BadInput(f"{folder}: no images in class {_some(empty)}; put some there or remove the folder")


def _check_same_classes(train: Path, test: Path, in_train: set[str], in_test: set[str]) -> None:
    missing, strange = sorted(in_train - in_test), sorted(in_test - in_train)
    if not missing and not strange:
        return
    parts = [f"{train.name}/ has {_some(missing)} that {test.name}/ lacks"] if missing else []
    parts += [f"{test.name}/ has {_some(strange)} that {train.name}/ lacks"] if strange else []
    raise BadInput(f"data.root {train.parent}: classes differ: {' and '.join(parts)}")


def _some(names: list[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _part(folder: Path, tree: ImageTree, names: tuple[str, ...]) -> FolderPart:
    files = [file for name in names for file in tree.classes[name]]
    counts = [len(tree.classes[name]) for name in names]
    return FolderPart(folder, files, np.repeat(np.arange(len(names), dtype=np.int64), counts))


def _tree(folder: Path, trust_folders: bool) -> ImageTree:
    if not trust_folders:
        return find_images(folder)
    path = cache_folder() / "trees" / f"{short_hash(str(folder))}.json"
    kept = read_json(path)
    if kept.get("folder") == str(folder) and folders_unchanged(folder, kept.get("folders", {})):
        classes = {name: [ImageFile(*file) for file in files] for name, files in kept["classes"].items()}
        return ImageTree(classes, [ImageFile(*file) for file in kept["loose"]], kept["folders"])
    tree = find_images(folder)
    plain = {name: [[file.path, file.size, file.modified] for file in files] for name, files in tree.classes.items()}
    loose = [[file.path, file.size, file.modified] for file in tree.loose]
    write_json(path, {"folder": str(folder), "folders": tree.folders, "classes": plain, "loose": loose})
    return tree
