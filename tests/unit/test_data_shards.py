"""WebDataset shards read by position, against the shards' content and timm's own reader."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data import shard_index, shards
from bench.data.facts import describe
from bench.data.open import open_data
from bench.errors import BadInput
from tests.unit.data_folders import random_pixels, spec_of


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path / "cache"))


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(random_pixels(seed, 8, 8, 3)).save(file, "png")
    return file.getvalue()


def write_shard(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def samples(first: int, count: int, ending: str = "png") -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    for number in range(first, first + count):
        members[f"{number:04d}.{ending}"] = png(number)
        members[f"{number:04d}.cls"] = str(number % 2).encode()
    return members


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "shards"
    write_shard(folder / "set-train-0000.tar", samples(0, 4))
    write_shard(folder / "set-train-0001.tar", samples(4, 3))
    write_shard(folder / "set-validation-0000.tar", samples(100, 3))
    return folder


def shard_spec(root: Path | None, **changes: object) -> object:
    plain = {"dataset": "wds/", "workers": 0, **changes}
    return spec_of("streaming", **({} if root is None else {"root": root}), **plain)


def refusal(root: Path | None) -> str:
    with pytest.raises(BadInput) as caught:
        describe(shard_spec(root))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_sample_is_read_with_its_label(root: Path) -> None:
    splits = open_data(shard_spec(root))
    assert splits.facts.sizes == {"train": 7, "test": 3}
    assert splits.facts.class_names == ("0", "1")
    known = {random_pixels(number, 8, 8, 3).tobytes(): number % 2 for number in range(7)}
    shown = {
        images[0].permute(1, 2, 0).numpy().tobytes(): int(labels) for images, labels in splits.train.epoch(0, 0, 1)
    }
    assert shown == known


# the package webdataset leaves its shard open
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_timms_reader_finds_the_same_samples(root: Path) -> None:
    from timm.data import create_dataset

    info = {"splits": {"validation": {"name": "validation", "num_samples": 3, "shard_lengths": [3],
                                      "filenames": ["set-validation-0000.tar"]}}}  # fmt: skip
    (root / "_info.json").write_text(json.dumps(info))
    theirs = list(create_dataset("wds/set", root=str(root), split="validation"))
    (root / "_info.json").unlink()
    feed = open_data(shard_spec(root, resolution=8)).evaluation["test"]
    assert feed.labels.tolist() == [label for _, label in theirs]
    reader = shards.ShardSource(shard_spec(root)).reader("test")
    for position, (image, _) in enumerate(theirs):
        assert np.array_equal(np.asarray(reader.image(position)), np.asarray(image))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_workers_read_the_same(root: Path) -> None:
    batches = [list(open_data(shard_spec(root, workers=workers)).train.epoch(0, 0, 3)) for workers in (0, 1)]
    assert all(torch.equal(first[0], second[0]) for first, second in zip(*batches, strict=True))


def test_info_json_says_which_shards_belong_to_a_split(root: Path) -> None:
    splits = {
        "train": {"name": "train", "filenames": ["set-train-0001.tar"], "shard_lengths": [3], "num_samples": 3},
        "test": {"name": "test", "filenames": ["set-train-0000.tar"], "shard_lengths": [4], "num_samples": 4},
    }
    (root / "_info.json").write_text(json.dumps({"splits": splits}))
    assert describe(shard_spec(root)).sizes == {"train": 3, "test": 4}
    splits["test"]["shard_lengths"] = [5]
    (root / "_info.json").write_text(json.dumps({"splits": splits}))
    assert "set-train-0000.tar: holds 4 samples, _info.json says 5" in refusal(root)
    splits["test"]["filenames"] = ["gone.tar"]
    (root / "_info.json").write_text(json.dumps({"splits": splits}))
    assert "gone.tar: there is no such shard" in refusal(root)
    splits["test"]["filenames"] = ["a.tar", "b.tar"]
    (root / "_info.json").write_text(json.dumps({"splits": splits}))
    assert "different lengths" in refusal(root)
    (root / "_info.json").write_text(json.dumps({"splits": {"train": 3}}))
    assert "needs a list of filenames" in refusal(root)


def test_labels_may_stand_in_json_and_images_may_be_jpg(root: Path) -> None:
    members = {"a/1.jpg": png(1), "a/1.json": b'{"label": 1}', "a/0.JPEG": png(0), "a/0.json": b'{"label": 0}'}
    write_shard(root / "set-train-0000.tar", members)
    source = shards.ShardSource(shard_spec(root))
    assert source.listing().train.labels[:2].tolist() == [1, 0]
    assert source.listing().train.identities[0] == f"set-train-0000.tar/a/1\t{len(png(1))}"


def test_the_index_is_kept_while_a_shard_stays_as_it_is(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(shards, "index_shard", lambda path: (read.append(path.name), shard_index.index_shard(path))[1])
    first = describe(shard_spec(root))
    assert len(read) == 3
    assert describe(shard_spec(root)) == first
    assert len(read) == 3
    write_shard(root / "set-train-0001.tar", samples(4, 5))
    assert describe(shard_spec(root)).sizes["train"] == 9
    assert read[3:] == ["set-train-0001.tar"]


def test_the_digest_does_not_follow_the_place(root: Path, tmp_path: Path) -> None:
    before = describe(shard_spec(root))
    root.rename(tmp_path / "moved")
    assert describe(shard_spec(tmp_path / "moved")) == before


def test_damaged_shards_are_named(root: Path) -> None:
    path = root / "set-train-0000.tar"
    whole = path.read_bytes()
    path.write_bytes(b"no tar at all")
    assert f"{path}: is not a whole, uncompressed tar file" in refusal(root)
    path.write_bytes(whole[:700])
    assert f"{path}: is not a whole, uncompressed tar file" in refusal(root)
    write_shard(path, {"readme.txt": b"nothing"})
    assert f"{path}: holds no images" in refusal(root)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"1.png": b"x"}, "sample 1 has neither .cls nor .json"),
        ({"1.png": b"x", "1.cls": b"cat"}, "class of sample 1 is not a number"),
        ({"1.png": b"x", "1.json": b"{}"}, "class of sample 1 is not a number"),
        ({"1.png": b"x", "1.json": b"[]"}, "class of sample 1 is not a number"),
        ({"1.png": b"x", "1.cls": b"-1"}, "sample 1 has class -1"),
    ],
)
def test_bad_labels_are_named(root: Path, members: dict[str, bytes], said: str) -> None:
    write_shard(root / "set-train-0000.tar", members)
    assert said in refusal(root)


def test_gaps_and_strange_classes_are_named(root: Path) -> None:
    write_shard(root / "set-train-0001.tar", {"9.png": png(9), "9.cls": b"3"})
    assert "no training image of class 2" in refusal(root)
    write_shard(root / "set-train-0001.tar", samples(4, 3))
    write_shard(root / "set-validation-0000.tar", {"9.png": png(9), "9.cls": b"2"})
    assert "class 2 occurs in the test shards only" in refusal(root)
    write_shard(root / "set-train-0000.tar", {"0.png": png(0), "0.cls": b"0"})
    write_shard(root / "set-train-0001.tar", {"2.png": png(2), "2.cls": b"0"})
    assert "one class only" in refusal(root)


def test_an_unreadable_image_is_named_by_its_place(root: Path) -> None:
    write_shard(root / "set-validation-0000.tar", {"1.png": b"no image", "1.cls": b"1"})
    with pytest.raises(BadInput, match=r"set-validation-0000.tar at byte 512 \(not an image\)"):
        list(open_data(shard_spec(root)).evaluation["test"].batches(1))


def test_folders_without_shards_are_refused(root: Path, tmp_path: Path) -> None:
    assert "there is no such folder" in refusal(None)
    assert "there is no such folder" in refusal(tmp_path / "gone")
    (root / "set-validation-0000.tar").unlink()
    assert "no shards for test; name them test-0000.tar" in refusal(root)
