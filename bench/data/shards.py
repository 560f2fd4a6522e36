"""WebDataset shards (`wds/`): tar files on disk, read in any order through an index of their members."""

from __future__ import annotations

import functools
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.data.cache import cache_folder, read_json, short_hash, write_json
from bench.data.listing import Listing, Samples, stamp_of_files
from bench.data.shard_index import ShardEntry, index_shard
from bench.data.threads import in_threads
from bench.errors import BadInput
from bench.spec import DataSpec

INFO_NAMES = ("_info.json", "info.json")
PARTS = {"train": ("train", "training"), "test": ("test", "validation", "val")}
"""Names that a part goes by, the preferred one first."""


class ShardSource:
    """Shards in the folder `root`, each sample an image (.jpg, .jpeg, .png, .webp) and its class number.

    Which shards make up a split is told by timm's `_info.json` (splits: {name: {filenames, shard_lengths}}), or
    without it by "train" and "test", "val" or "validation" in the shards' names. The class number stands in a .cls file
    or in the field "label" of a .json file beside the image. timm's own reader of shards shuffles a buffer in each
    worker, so its order hangs on the number of workers and cannot be resumed; here the shards are indexed once and
    samples read by position. That wants local disks; pipes, addresses and compressed tars are refused.
    """

    def __init__(self, spec: DataSpec) -> None:
        if spec.root is None or not Path(spec.root).expanduser().is_dir():
            raise BadInput(f"data.root {spec.root}: there is no such folder; wds/ expects one with .tar shards")
        self.root = Path(spec.root).expanduser().absolute()

    @functools.cached_property
    def parts(self) -> dict[str, list[tuple[str, ShardEntry]]]:
        """Shard name and entry of every sample of "train" and "test"."""
        info = self._info()
        found = {}
        for part, names in PARTS.items():
            shards = _named_in(info, names) if info else self._by_name(names)
            if not shards:
                raise BadInput(f"data.root {self.root}: no shards for {part}; name them {names[0]}-0000.tar and so on")
            found[part] = [(shard, entry) for shard in shards for entry in self._entries(shard, shards[shard])]
        return found

    def listing(self) -> Listing:
        """All samples by shard and then by their order in it; classes are called by their numbers."""
        train, test = _samples(self.parts["train"]), _samples(self.parts["test"])
        count = int(train.labels.max()) + 1
        missing = sorted(set(range(count)) - set(train.labels.tolist()))
        if missing or count < 2:
            what = f"no training image of class {missing[0]}" if missing else "one class only; a classifier needs two"
            raise BadInput(f"data.root {self.root}: {what}")
        if int(test.labels.max()) >= count:
            raise BadInput(f"data.root {self.root}: class {int(test.labels.max())} occurs in the test shards only")
        return Listing(tuple(str(label) for label in range(count)), train, test)

    def reader(self, part: str) -> ShardReader:
        """Access to the images of "train" or "test"."""
        samples = self.parts[part]
        shards = sorted({shard for shard, _ in samples})
        number = {shard: position for position, shard in enumerate(shards)}
        places = np.array([(number[shard], entry.offset, entry.size) for shard, entry in samples], dtype=np.int64)
        return ShardReader(tuple(str(self.root / shard) for shard in shards), places)

    def _info(self) -> dict[str, dict[str, int | None]]:
        for name in INFO_NAMES:
            splits = read_json(self.root / name).get("splits")
            if splits:
                return {split: _shard_lengths(self.root / name, split, plain) for split, plain in splits.items()}
        return {}

    def _by_name(self, names: tuple[str, ...]) -> dict[str, int | None]:
        pattern = re.compile(rf"(?:^|[^a-z])(?:{'|'.join(names)})(?:[^a-z]|$)")
        stems = sorted(path.name for path in self.root.glob("*.tar"))
        return {stem: None for stem in stems if pattern.search(stem.removesuffix(".tar").lower())}

    def _entries(self, shard: str, expected: int | None) -> list[ShardEntry]:
        index = self._index
        if shard not in index:
            raise BadInput(f"{self.root / shard}: there is no such shard")
        if expected is not None and len(index[shard]) != expected:
            raise BadInput(f"{self.root / shard}: holds {len(index[shard])} samples, _info.json says {expected}")
        return index[shard]

    @functools.cached_property
    def _index(self) -> dict[str, list[ShardEntry]]:
        store = cache_folder() / "shards" / f"{short_hash(str(self.root))}.json"
        plain = read_json(store)
        kept = plain.get("shards", {}) if plain.get("root") == str(self.root) else {}
        paths = sorted(path for path in self.root.rglob("*.tar") if not path.name.startswith("."))
        names = [path.relative_to(self.root).as_posix() for path in paths]
        stamps = {name: stamp_of_files([path]) for name, path in zip(names, paths, strict=True)}
        stale = [name for name in names if kept.get(name, [""])[0] != stamps[name]]
        if stale:
            fresh = in_threads(f"indexing {self.root}", "shards", stale, lambda name: index_shard(self.root / name))
            kept = {name: kept[name] for name in names if name not in set(stale)}
            kept |= {name: [stamps[name], entries] for name, entries in zip(stale, fresh, strict=True)}
            write_json(store, {"root": str(self.root), "shards": kept})
        return {name: [ShardEntry(*entry) for entry in kept[name][1]] for name in names}


def _named_in(info: dict[str, dict[str, int | None]], names: tuple[str, ...]) -> dict[str, int | None]:
    return next((info[name] for name in names if name in info), {})


def _shard_lengths(path: Path, split: str, plain: object) -> dict[str, int | None]:
    if not isinstance(plain, dict) or not isinstance(plain.get("filenames"), list):
        raise BadInput(f"{path}: splits.{split} needs a list of filenames")
    lengths = plain.get("shard_lengths") or [None] * len(plain["filenames"])
    if len(lengths) != len(plain["filenames"]):
        raise BadInput(f"{path}: splits.{split} has filenames and shard_lengths of different lengths")
    return dict(zip(plain["filenames"], lengths, strict=True))


def _samples(samples: list[tuple[str, ShardEntry]]) -> Samples:
    identities = [f"{shard}/{entry.key}\t{entry.size}" for shard, entry in samples]
    return Samples(identities, np.array([entry.label for _, entry in samples], dtype=np.int64))


@dataclass(frozen=True)
class ShardReader:
    """A Reader of tar members. places: (N, 3) int64, number of the shard, offset and size in bytes."""

    shards: tuple[str, ...]
    places: np.ndarray

    def image(self, index: int) -> Image.Image:
        """The image at a position, not decoded yet."""
        return Image.open(io.BytesIO(self.encoded(index)))

    def encoded(self, index: int) -> bytes:
        """The image's file, whole."""
        shard, offset, size = self.places[index].tolist()
        with open(self.shards[shard], "rb") as file:
            file.seek(offset)
            return file.read(size)

    def name(self, index: int) -> str:
        """Shard and offset."""
        shard, offset, _ = self.places[index].tolist()
        return f"{self.shards[shard]} at byte {offset}"
