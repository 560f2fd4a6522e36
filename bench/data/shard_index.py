"""Where the samples of one WebDataset shard lie."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import NamedTuple

from bench.errors import BadInput

IMAGE_ENDINGS = ("jpg", "jpeg", "png", "webp")


class ShardEntry(NamedTuple):
    """key: the members' common name. offset, size: where the image's bytes lie in the tar. label: class number."""

    key: str
    offset: int
    size: int
    label: int


def index_shard(path: Path) -> list[ShardEntry]:
    """Samples in their order. A sample's members share their path up to the first dot of the file name.

    BadInput, naming shard and sample, for a damaged or empty tar, an image without a label, a label that is no number.
    """
    groups: dict[str, dict[str, tarfile.TarInfo]] = {}
    entries = []
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                folder, slash, name = member.name.rpartition("/")
                stem, dot, ending = name.partition(".")
                if member.isfile() and stem and dot:
                    groups.setdefault(folder + slash + stem, {})[ending.lower()] = member
            for key, members in groups.items():
                image = next((members[ending] for ending in IMAGE_ENDINGS if ending in members), None)
                if image is not None:
                    entries.append(ShardEntry(key, image.offset_data, image.size, _label(tar, path, key, members)))
    except (tarfile.TarError, OSError, EOFError) as error:
        raise BadInput(f"{path}: is not a whole, uncompressed tar file ({error})") from None
    if not entries:
        raise BadInput(f"{path}: holds no images ({', '.join(IMAGE_ENDINGS)})")
    return entries


def _label(tar: tarfile.TarFile, path: Path, key: str, members: dict[str, tarfile.TarInfo]) -> int:
    try:
        if "cls" in members:
            label = int(_content(tar, members["cls"]))
        elif "json" in members:
            label = int(json.loads(_content(tar, members["json"]))["label"])
        else:
            raise BadInput(f"{path}: sample {key} has neither .cls nor .json to tell its class")
    except (ValueError, KeyError, TypeError):
        raise BadInput(f"{path}: the class of sample {key} is not a number") from None
    if label < 0:
        raise BadInput(f"{path}: sample {key} has class {label}; classes count from 0")
    return label


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return b"" if file is None else file.read()
