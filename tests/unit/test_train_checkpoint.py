"""A checkpoint file is the old one or the new one, whatever happens while it is written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from bench.records import StorageError
from bench.train.checkpoint import load_checkpoint, save_checkpoint


def failing(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("place", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_checkpoint_and_nothing_else(tmp_path, monkeypatch, place):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"epoch": 1})
    monkeypatch.setattr(*((os, "fsync") if place == "fsync" else (Path, "replace")), failing)
    with pytest.raises(StorageError, match=r"checkpoint\.pt: No space left on device") as caught:
        save_checkpoint(path, {"epoch": 2})
    assert caught.value.full
    assert load_checkpoint(path) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_all_bytes_are_on_the_disk_before_the_old_checkpoint_goes(tmp_path, monkeypatch):
    path, seen = tmp_path / "checkpoint.pt", []
    save_checkpoint(path, {"epoch": 1})
    flush = os.fsync

    def looking(descriptor: int) -> None:
        seen.append((load_checkpoint(path), os.fstat(descriptor).st_size))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", looking)
    save_checkpoint(path, {"epoch": 2})
    assert seen == [({"epoch": 1}, path.stat().st_size)]
    assert load_checkpoint(path) == {"epoch": 2}
