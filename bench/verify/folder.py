"""What may lie in a folder of records: names, kinds and sizes, looked at before any file is opened."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.records import BEST_FILE, METHOD_FILE, PREDICTIONS_FILE, TRAIN_FILE, WEIGHTS_FILE
from bench.records.errors import storage
from bench.records.store import SPEED_FOLDER
from bench.verify.problem import Problem

MIB = 2**20
MOST_FILES = 200_000
RUN_NAME = re.compile(r"[0-9a-f]{16}")
UNIQUE_NAME = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8}")
_EVALUATION = re.compile(r"eval-[A-Za-z0-9_-]+-[A-Za-z0-9.]+\.jsonl")
_LOG = "log.txt"
_LARGEST = {TRAIN_FILE: 64 * MIB, PREDICTIONS_FILE: 64 * MIB, _LOG: 64 * MIB}
_LARGEST |= dict.fromkeys((WEIGHTS_FILE, METHOD_FILE, BEST_FILE), 8192 * MIB)
_LARGEST_RECORD = 64 * MIB
_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".npy")


@dataclass
class Found:
    """The files that may be read, by folder. attempts: by (run, attempt) folder the names; sessions: paths."""

    attempts: dict[Path, list[str]] = field(default_factory=dict[Path, list[str]])
    sessions: list[Path] = field(default_factory=list[Path])
    problems: list[Problem] = field(default_factory=list[Problem])


def look_around(root: Path) -> Found:
    """Sort everything below `root`. Links, devices, strange names, too large files and pickles are problems and are
    never opened.
    """
    found = Found()
    for count, (path, entry) in enumerate(_walk(root, 0, found)):
        if count == MOST_FILES:
            found.problems.append(Problem(".", None, f"more than {MOST_FILES} files; the rest was not looked at"))
            break
        parts = path.relative_to(root).parts
        text = _refusal(parts, entry)
        if text is not None:
            found.problems.append(Problem("/".join(parts), None, text))
        elif parts[0] == SPEED_FOLDER:
            found.sessions.append(path)
        else:
            found.attempts.setdefault(path.parent, []).append(path.name)
    return found


def _walk(folder: Path, depth: int, found: Found) -> Iterator[tuple[Path, os.DirEntry[str]]]:
    with storage("cannot read", folder), os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if entry.is_dir(follow_symlinks=False) and depth < 2:
            yield from _walk(Path(entry.path), depth + 1, found)
        else:
            yield Path(entry.path), entry


def _refusal(parts: tuple[str, ...], entry: os.DirEntry[str]) -> str | None:
    """Why a file is not read; None for a file of a record."""
    if entry.is_symlink():
        return "is a link; submit the file itself"
    facts = entry.stat(follow_symlinks=False)
    if stat.S_ISDIR(facts.st_mode):
        return "is a folder inside an attempt; an attempt holds files only"
    if not stat.S_ISREG(facts.st_mode):
        return "is neither file nor folder"
    if entry.name.lower().endswith(_PICKLES):
        return "may hold a pickle, which runs code when it is opened; submit weights as .safetensors"
    if parts[0] == SPEED_FOLDER:
        if len(parts) != 2 or not UNIQUE_NAME.fullmatch(parts[1].removesuffix(".jsonl")):
            return "is no timing session (speed/<time>-<suffix>.jsonl)"
    elif len(parts) != 3 or not RUN_NAME.fullmatch(parts[0]) or not UNIQUE_NAME.fullmatch(parts[1]):
        return "does not lie in <run id>/<attempt>/"
    elif parts[2] not in _LARGEST and not _EVALUATION.fullmatch(parts[2]):
        return "is no file of a record"
    largest = _LARGEST.get(entry.name, _LARGEST_RECORD)
    return f"has {facts.st_size} bytes, more than the {largest} that are read" if facts.st_size > largest else None
