"""Hashes of files' contents, kept in the cache under path, size and time of change."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bench.data.cache import cache_folder, read_json, short_hash, write_json
from bench.data.image_tree import ImageFile
from bench.data.threads import in_threads
from bench.errors import BadInput


def content_hashes(folder: Path, files: list[ImageFile]) -> list[str]:
    """BLAKE2b (16 hex digits) of each file below a folder, in the order given.

    A file is read again only when its path, size or time of change is new. BadInput names a file that cannot be read.
    """
    store = cache_folder() / "hashes" / f"{short_hash(str(folder))}.json"
    plain = read_json(store)
    kept = plain.get("files", {}) if plain.get("folder") == str(folder) else {}
    known = {path: digest for path, (size, modified, digest) in kept.items()}
    fresh = {path: (size, modified) for path, (size, modified, _) in kept.items()}
    stale = [file for file in files if fresh.get(file.path) != (file.size, file.modified)]
    if stale:
        known.update(zip((file.path for file in stale), _hash_all(folder, stale), strict=True))
        entries = {file.path: [file.size, file.modified, known[file.path]] for file in files}
        write_json(store, {"folder": str(folder), "files": entries})
    return [known[file.path] for file in files]


def _hash_all(folder: Path, files: list[ImageFile]) -> list[str]:
    return in_threads(f"reading {folder}", "files", files, lambda file: _hash(folder / file.path))


def _hash(path: Path) -> str:
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror or error})") from None
