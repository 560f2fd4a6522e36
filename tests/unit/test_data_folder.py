"""Folders of images: what is accepted, what is refused and in which words."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data import content_hash
from bench.data.facts import describe
from bench.data.folder import FolderSource
from bench.data.open import open_data
from bench.data.streamed_folder import StreamedFolder
from bench.errors import BadInput
from tests.unit.data_folders import spec_of, write_folder, write_image


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data")


def refusal(root: Path | None, **changes: object) -> str:
    """The message, the same for both sources that read folders."""
    messages = []
    for source in ("folder", "streaming"):
        spec = spec_of(source, **({} if root is None else {"root": root}), **changes)
        with pytest.raises(BadInput) as caught:
            describe(spec)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert "\n" not in messages[0]
    return messages[0]


def test_images_are_listed_by_class_and_path(root: Path) -> None:
    listing = FolderSource(spec_of(root=root)).listing()
    assert listing.class_names == ("ant", "bee")
    assert [identity.split("\t")[0] for identity in listing.train.identities] == [
        f"{name}/{number}.png" for name in ("ant", "bee") for number in range(4)
    ]
    assert listing.train.labels.tolist() == [0] * 4 + [1] * 4
    assert listing.test is not None
    assert listing.test.labels.tolist() == [0] * 2 + [1] * 2


def test_pictures_that_are_passed_over_are_told(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    describe(spec_of(root=root))
    (root / "train" / "ant" / "notes.txt").write_text("no picture")
    assert caplog.messages == []
    for name in ("a.HEIC", "b.heic", "c.avif"):
        (root / "train" / "ant" / name).write_bytes(b"")
    assert describe(spec_of(root=root)).sizes["train"] == 8
    assert caplog.messages == [
        f"{root / 'train'}: passed over 1 .avif, 2 .heic; save such pictures as JPEG or PNG if they are to count"
    ]


def test_root_must_be_given_and_exist(tmp_path: Path) -> None:
    assert "data.root is not set" in refusal(None)
    missing = refusal(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in missing
    assert "train/<class>/" in missing


def test_train_and_a_test_folder_must_exist(root: Path) -> None:
    (root / "test").rename(root / "other")
    assert "neither test/ nor val/" in refusal(root)
    (root / "train").rename(root / "training")
    assert "no folder train/" in refusal(root)


@pytest.mark.parametrize("name", ["val", "validation"])
def test_val_is_as_good_as_test(tmp_path: Path, name: str) -> None:
    as_test, as_val = write_folder(tmp_path / "a"), write_folder(tmp_path / "b", test_name=name)
    assert describe(spec_of(root=as_test)) == describe(spec_of(root=as_val))


def test_a_test_folder_without_the_classes_gives_way_to_val(root: Path) -> None:
    (root / "test").rename(root / "val")
    write_image(root / "test" / "images" / "1.png", 0)
    assert describe(spec_of(root=root)).sizes["test"] == 4


def test_tiny_imagenet_is_read_as_it_is_unpacked(root: Path) -> None:
    for name in ("ant", "bee"):
        write_image(root / "train" / name / "images" / "9.png", 9)
        (root / "train" / name / f"{name}_boxes.txt").write_text("9.png\t0\t0\t8\t8\n")
    lines = []
    for number in range(4):
        write_image(root / "val" / "images" / f"val_{number}.png", number)
        lines.append(f"val_{number}.png\t{'bee' if number % 2 else 'ant'}\t0\t0\t8\t8")
    (root / "test").rename(root / "old")
    (root / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    source = FolderSource(spec_of(root=root))
    listing = source.listing()
    assert listing.test is not None
    assert [identity.split("\t")[0] for identity in listing.test.identities] == [
        f"images/val_{number}.png" for number in (0, 2, 1, 3)
    ]
    assert listing.test.labels.tolist() == [0, 0, 1, 1]
    assert len(listing.train.labels) == 10
    (root / "val" / "val_annotations.txt").write_text("\n".join(lines[:3]))
    assert "no line for 1 images, such as val_3.png" in refusal(root)
    (root / "val" / "val_annotations.txt").write_text("val_9.png\tant\n")
    assert "val_annotations.txt:1" in refusal(root)


def test_empty_classes_are_named(root: Path) -> None:
    (root / "train" / "cow").mkdir()
    (root / "train" / "cow" / "notes.txt").write_text("soon")
    assert "no images in class 'cow'" in refusal(root)


def test_one_class_is_refused(root: Path) -> None:
    for part in ("train", "test"):
        (root / part / "bee").rename(root / f"{part}-bee")
    assert "one class only ('ant')" in refusal(root)


def test_different_classes_are_named(root: Path) -> None:
    (root / "train" / "bee").rename(root / "train" / "wasp")
    message = refusal(root)
    assert "train/ has 'wasp' that test/ lacks" in message
    assert "test/ has 'bee' that train/ lacks" in message


def test_loose_images_are_refused(root: Path, tmp_path: Path) -> None:
    write_image(root / "train" / "stray.png", 1)
    assert "stray.png: lies outside the class folders" in refusal(root)
    flat = tmp_path / "flat"
    write_image(flat / "train" / "1.png", 1)
    assert "1 images but no class folders" in refusal(flat)


def test_hidden_files_and_other_endings_are_passed_over(root: Path) -> None:
    before = describe(spec_of(root=root))
    (root / "train" / "ant" / ".hidden.png").write_bytes(b"")
    (root / "train" / ".git").mkdir()
    (root / "train" / "ant" / "Thumbs.db").write_bytes(b"")
    assert describe(spec_of(root=root)) == before


def test_upper_case_endings_spaces_and_unicode_names_count(root: Path) -> None:
    (root / "train" / "ant" / "0.png").rename(root / "train" / "ant" / "größe 1 .PNG")
    assert describe(spec_of(root=root)).sizes["train"] == 8
    assert open_data(spec_of(root=root)).train.size == 8


def test_names_mean_the_same_in_both_unicode_forms(tmp_path: Path) -> None:
    facts = []
    for form in ("NFC", "NFD"):
        root = write_folder(tmp_path / form, classes=("ant", unicodedata.normalize(form, "bée")))
        facts.append(describe(spec_of(root=root)))
    assert facts[0] == facts[1]
    write_image(tmp_path / "NFC" / "train" / unicodedata.normalize("NFD", "bée") / "1.png", 1)
    assert "different Unicode forms" in refusal(tmp_path / "NFC")


def test_links_are_followed(root: Path, tmp_path: Path) -> None:
    before = describe(spec_of(root=root))
    (root / "train" / "ant").rename(tmp_path / "elsewhere")
    (root / "train" / "ant").symlink_to(tmp_path / "elsewhere")
    (root / "test" / "bee" / "0.png").rename(tmp_path / "0.png")
    (root / "test" / "bee" / "0.png").symlink_to(tmp_path / "0.png")
    assert describe(spec_of(root=root)) == before


def test_links_in_a_circle_and_to_nothing_are_named(root: Path) -> None:
    link = root / "train" / "ant" / "again"
    link.symlink_to(root / "train")
    assert f"{link}: this link leads back" in refusal(root)
    link.unlink()
    link.symlink_to(root / "gone")
    assert f"{link}: this link leads to nothing" in refusal(root)


def test_folders_that_may_not_be_read_are_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = os.scandir

    def scandir(place: Path) -> object:
        if place.name == "ant":
            raise PermissionError(13, "Permission denied")
        return honest(place)

    monkeypatch.setattr(os, "scandir", scandir)
    assert refusal(root) == f"{root}/train/ant: cannot be read (Permission denied)"


def test_the_digest_follows_content_names_and_labels_only(root: Path, tmp_path: Path) -> None:
    spec = spec_of(root=root)
    before = describe(spec).digest
    moved = write_folder(tmp_path / "moved", classes=("bee", "ant")[::-1])
    assert describe(spec_of(root=moved)).digest == before
    write_image(root / "train" / "ant" / "0.png", 77)
    changed = describe(spec).digest
    assert changed != before
    write_image(root / "train" / "ant" / "0.png", 0)
    assert describe(spec).digest == before
    (root / "train" / "ant" / "0.png").rename(root / "train" / "ant" / "x.png")
    assert describe(spec).digest not in (before, changed)


def test_a_second_look_reads_no_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    honest = content_hash._hash
    monkeypatch.setattr(content_hash, "_hash", lambda path: (read.append(path), honest(path))[1])
    first = describe(spec_of(root=root))
    assert len(read) == 12
    assert describe(spec_of(root=root)) == first
    assert len(read) == 12
    write_image(root / "test" / "bee" / "1.png", 5)
    assert describe(spec_of(root=root)) != first
    assert len(read) == 13


def test_a_streaming_folder_is_not_searched_again_until_a_folder_changes(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of("streaming", root=root)
    first = describe(spec)
    with monkeypatch.context() as patch:
        patch.setattr("bench.data.folder_layout.find_images", lambda folder: pytest.fail(f"searched {folder}"))
        assert describe(spec) == first
    write_image(root / "train" / "ant" / "new.png", 5)
    assert describe(spec).sizes["train"] == 9


def test_a_search_through_many_classes_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = describe(spec_of(root=root))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("bench.data.image_tree.MANY", 2)
    assert describe(spec_of(root=root)) == before
    assert capsys.readouterr().err == f"searching {root}/train: 2 folders\nsearching {root}/test: 2 folders\n"


def test_a_streaming_folder_goes_by_path_and_size(root: Path) -> None:
    listing = StreamedFolder(spec_of("streaming", root=root)).listing()
    size = (root / "train" / "ant" / "0.png").stat().st_size
    assert listing.train.identities[0] == f"ant/0.png\t{size}"


def test_unreadable_images_are_named_and_refused(root: Path) -> None:
    (root / "train" / "ant" / "0.png").write_bytes(b"no image")
    cut = root / "train" / "bee" / "3.png"
    cut.write_bytes(cut.read_bytes()[:-60])
    with pytest.raises(BadInput) as caught:
        open_data(spec_of(root=root))
    message = str(caught.value)
    assert f"{root}/train/ant/0.png (not an image)" in message
    assert f"{cut} (" in message
    for number in range(1, 4):
        (root / "train" / "ant" / f"{number}.png").write_bytes(b"no image")
    with pytest.raises(BadInput, match="and 2 more"):
        open_data(spec_of(root=root))


def test_decoded_images_come_from_the_cache_and_follow_their_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_data(spec_of(root=root)).train.images
    with monkeypatch.context() as patch:
        patch.setattr("bench.data.folder.open_image", lambda *_: pytest.fail("decoded again"))
        second = open_data(spec_of(root=root)).train.images
    assert (first == second).all()
    write_image(root / "train" / "ant" / "0.png", 77)
    third = open_data(spec_of(root=root)).train.images
    assert (third[0].permute(1, 2, 0).numpy() == np.asarray(Image.open(root / "train/ant/0.png"))).all()
    assert (third[1:] == first[1:]).all()
    assert open_data(spec_of(root=root, resolution=4)).train.images.shape == (8, 3, 4, 4)
    assert open_data(spec_of(root=root, channels=1)).train.images.shape == (8, 1, 8, 8)
