"""How a set of out-of-distribution images is named in a config, and what of the name counts. Does not import torch."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

from bench.data.cache import short_hash
from bench.data.image_tree import ImageFile, find_images
from bench.errors import BadInput, nearest

HELD_OUT = "held_out"
GENERATED = ("gaussian_noise", "uniform_noise", "textures", "blobs")
FORMS = (HELD_OUT, *GENERATED, "folder:PATH", "torchvision:NAME:ROOT")


class SetName(NamedTuple):
    """kind: "held_out", "generated", "folder" or "torchvision". name: which one. place: where its files lie, or ""."""

    kind: str
    name: str
    place: str

    @property
    def label(self) -> str:
        """The name without its place, as records and tables show it, such as "folder:places365"."""
        return self.name if self.kind in (HELD_OUT, "generated") else f"{self.kind}:{self.name}"


def parse_set(text: str) -> SetName:
    """Read a set's name. A folder is called by the last part of its path. BadInput names the nearest valid form."""
    if text == HELD_OUT:
        return SetName(HELD_OUT, text, "")
    if text in GENERATED:
        return SetName("generated", text, "")
    kind, _, rest = text.partition(":")
    if kind == "folder" and Path(rest).expanduser().absolute().name and rest:
        return SetName(kind, Path(rest).expanduser().absolute().name, rest)
    if kind == "torchvision":
        name, _, root = rest.partition(":")
        if name and root:
            return SetName(kind, name, root)
    raise BadInput(f"ood: there is no set '{text}'; {nearest(text, FORMS)}")


def set_identity(text: str) -> list[str]:
    """What says which set it is and not where it lies: its label and, of a folder, a hash of its files' paths and
    sizes ("missing" where it is not there)."""
    parsed = parse_set(text)
    files = _fingerprint(str(Path(parsed.place).expanduser().absolute())) if parsed.kind == "folder" else ""
    return [parsed.label, files]


def image_files(folder: Path) -> list[ImageFile]:
    """All images below a folder, nested or not, sorted by path. BadInput where the folder cannot be read."""
    tree = find_images(folder)
    found = [*tree.loose, *(file for files in tree.classes.values() for file in files)]
    return sorted(found, key=lambda file: file.identity)


@functools.cache
def _fingerprint(folder: str) -> str:
    place = Path(folder)
    if not place.is_dir():
        return "missing"
    return short_hash(*(f"{file.identity}\t{file.size}" for file in image_files(place)))
