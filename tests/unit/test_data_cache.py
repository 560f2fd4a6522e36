"""The cache: whole files or none, damage noticed, failures survived."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest

from bench.data import array_cache
from bench.data.array_cache import cached_array
from bench.data.cache import cache_folder, lock, read_json, short_hash, write_json, write_whole
from bench.errors import BadInput

ARRAY = np.arange(60, dtype=np.uint8).reshape(5, 3, 2, 2)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def never() -> np.ndarray:
    raise AssertionError("built although it was in the cache")


def test_the_cache_folder_is_the_one_asked_for_or_in_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("MIXBENCH_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "mixbench"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("MIXBENCH_CACHE")
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(BadInput, match="MIXBENCH_CACHE"):
        cache_folder()


def test_hashes_tell_parts_apart() -> None:
    assert short_hash("ab", "c") != short_hash("a", "bc")
    assert short_hash("ab", "c") == short_hash("ab", "c")


def test_an_array_is_built_once_and_then_mapped(cache: Path) -> None:
    first = cached_array("key", ARRAY.copy)
    second = cached_array("key", never)
    assert np.array_equal(first, ARRAY)
    assert np.array_equal(second, ARRAY)
    assert isinstance(second, np.memmap)


def test_writing_into_a_mapped_array_leaves_the_cache_alone() -> None:
    cached_array("key", ARRAY.copy)[:] = 7
    assert np.array_equal(cached_array("key", never), ARRAY)


@pytest.mark.parametrize("damage", ["truncated", "one byte", "no note", "not an array"])
def test_damage_is_noticed_and_repaired(cache: Path, damage: str) -> None:
    path = cache / "arrays" / "key.npy"
    cached_array("key", ARRAY.copy)
    content = bytearray(path.read_bytes())
    if damage == "no note":
        path.with_suffix(".json").unlink()
    elif damage == "truncated":
        path.write_bytes(content[:-1])
    else:
        content[-1 if damage == "one byte" else 0] ^= 1
        path.write_bytes(content)
        os.utime(path, ns=(0, 0))
    assert np.array_equal(cached_array("key", ARRAY.copy), ARRAY)
    assert np.array_equal(cached_array("key", never), ARRAY)


def test_a_copied_cache_is_believed_after_a_look_at_its_content(cache: Path) -> None:
    cached_array("key", ARRAY.copy)
    path = cache / "arrays" / "key.npy"
    os.utime(path, ns=(5, 5))
    assert np.array_equal(cached_array("key", never), ARRAY)
    assert read_json(path.with_suffix(".json"))["modified"] == 5


def test_a_full_disk_costs_the_cache_and_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, write: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(array_cache, "write_whole", full)
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(cached_array("key", ARRAY.copy), ARRAY)
    assert [record.getMessage().count("No space left") for record in caplog.records] == [1]


def test_a_cache_folder_that_cannot_be_made_costs_one_warning(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache.write_text("a file where the folder should be")
    assert np.array_equal(cached_array("key", ARRAY.copy), ARRAY)
    write_json(cache / "x.json", {"a": 1})
    assert len(caplog.records) == 2
    assert read_json(cache / "x.json") == {}


def test_a_failed_write_leaves_neither_the_file_nor_a_temporary_one(tmp_path: Path) -> None:
    target = tmp_path / "folder" / "file"
    write_whole(target, lambda file: file.write(b"old") and None)

    def fail(file: object) -> None:
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        write_whole(target, fail)
    assert target.read_bytes() == b"old"
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_what_a_killed_process_left_is_cleared_away(cache: Path) -> None:
    (cache / "arrays").mkdir(parents=True)
    (cache / "arrays" / ".key.npy.abc.partial").write_bytes(b"half")
    (cache / "arrays" / ".other.npy.abc.partial").write_bytes(b"half")
    cached_array("key", ARRAY.copy)
    names = sorted(path.name for path in (cache / "arrays").iterdir())
    assert names == [".other.npy.abc.partial", "key.json", "key.lock", "key.npy"]


def test_damaged_json_reads_as_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"name": "\udcff"})
    assert read_json(path) == {"name": "\udcff"}
    path.write_bytes(path.read_bytes()[:-3])
    assert read_json(path) == {}
    path.write_text("[1]")
    assert read_json(path) == {}


def _build(folder: str, builds: str) -> None:
    os.environ["MIXBENCH_CACHE"] = folder

    def build() -> np.ndarray:
        with open(builds, "a") as file:
            file.write("built\n")
        time.sleep(0.2)
        return ARRAY

    assert np.array_equal(cached_array("key", build), ARRAY)


def test_processes_that_start_together_build_once(cache: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_build, args=(str(cache), str(tmp_path / "builds"))) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert (tmp_path / "builds").read_text() == "built\n"


def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), lock(tmp_path / "lock"):
        raise ValueError("inside")
    with lock(tmp_path / "lock"):
        pass
