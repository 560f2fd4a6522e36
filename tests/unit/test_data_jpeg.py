"""JPEG decoders: torchvision's against Pillow, and batches for nvJPEG with a decoder that stands in for it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor
from torch.utils.data._utils.pin_memory import pin_memory

from bench.data import jpeg
from bench.data.decode import open_image
from bench.data.device_batch import DeviceBatch, augmented, device_batch
from bench.data.jpeg import check_decoder, decode_jpegs
from bench.data.nvjpeg import NvjpegImages, encoded_batch, nvjpeg_reads
from bench.data.open import open_data
from bench.data.streaming import BatchLoader, StreamingTrain
from bench.data.streaming_worker import ImageBatches
from bench.data.training_image import training_image
from bench.errors import BadInput
from bench.rng import AUGMENT, stream
from methods.ops.keys import Key
from tests.unit.data_folders import spec_of, write_folder

CPU = torch.device("cpu")
PHOTOGRAPH = Image.fromarray(load_sample_images().images[0])
NVJPEG: dict[str, Any] = {"decoder": "nvjpeg", "augment_on": "device", "crop": "random_resized", "flip": True}


def file_of(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, options.pop("format", "jpeg"), **options)
    return file.getvalue()


class Files:
    """A Reader of files in memory."""

    def __init__(self, files: list[bytes]) -> None:
        self.files = files

    def image(self, index: int) -> Image.Image:
        return Image.open(io.BytesIO(self.files[index]))

    def encoded(self, index: int) -> bytes:
        return self.files[index]

    def name(self, index: int) -> str:
        return f"file {index}"


JPEGS = {
    "4:2:0": file_of(PHOTOGRAPH, quality=90), "4:4:4": file_of(PHOTOGRAPH, quality=95, subsampling=0),
    "4:2:2": file_of(PHOTOGRAPH, quality=50, subsampling=1), "progressive": file_of(PHOTOGRAPH, progressive=True),
    "grey": file_of(PHOTOGRAPH.convert("L")), "odd": file_of(PHOTOGRAPH.crop((3, 5, 128, 98))),
    "RGB": file_of(PHOTOGRAPH, keep_rgb=True), "CMYK": file_of(PHOTOGRAPH.convert("CMYK")),
}  # fmt: skip
PNG = file_of(PHOTOGRAPH.crop((0, 0, 90, 60)), format="png")


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("channels", [1, 3])
def test_torchvision_decodes_as_pillow(kind: str, channels: int) -> None:
    """Both use libjpeg-turbo: equal here, and never more than two levels apart where their releases differ."""
    reader = Files([JPEGS[kind]])
    spec = spec_of("streaming", decoder="torchvision", channels=channels)
    made = np.asarray(training_image(reader, 0, spec)).astype(int)
    expected = np.asarray(open_image(io.BytesIO(JPEGS[kind]), channels)).astype(int)
    assert made.shape == expected.shape
    assert np.abs(made - expected).max() <= 2


def test_torchvision_is_really_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def black(files: list[Tensor], mode: str, device: object) -> list[Tensor]:
        asked.append(mode)
        return [torch.zeros(3 if mode == "RGB" else 1, 4, 5, dtype=torch.uint8)]

    monkeypatch.setattr("bench.data.training_image.decode_jpegs", black)
    spec = spec_of("streaming", decoder="torchvision")
    for kind, mode in (("4:2:0", "RGB"), ("grey", "GRAY")):
        image = training_image(Files([JPEGS[kind]]), 0, spec)
        assert (image.size, image.mode, asked.pop()) == ((5, 4), "RGB", mode)
    for file in (JPEGS["CMYK"], PNG):
        assert training_image(Files([file]), 0, spec).size != (5, 4)
    assert asked == []


@pytest.mark.parametrize("decoder", ["pil", "torchvision"])
@pytest.mark.parametrize("file", [JPEGS["4:2:0"][:5000], JPEGS["4:2:0"][:100], b"", b"nothing"])
def test_a_damaged_file_is_named(decoder: str, file: bytes) -> None:
    with pytest.raises(BadInput, match=r"^unreadable image: file 0 \(.+\); repair or remove it$"):
        training_image(Files([file]), 0, spec_of("streaming", decoder=decoder))


def test_evaluation_stays_with_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path / "cache"))
    root = write_folder(tmp_path / "data", width=50, height=40)
    for part in ("train", "test"):
        for label in ("ant", "bee"):
            (root / part / label / "a.jpg").write_bytes(JPEGS["odd"])
    plain = open_data(spec_of("streaming", root=root, workers=0))
    monkeypatch.setattr("bench.data.training_image.decode_jpegs", _fail)
    for changes in ({"jpeg_side": 9}, {"decoder": "torchvision", "augment_on": "device"}):
        other = open_data(spec_of("streaming", root=root, workers=0, **changes))
        pairs = zip(plain.evaluation["test"].batches(3), other.evaluation["test"].batches(3), strict=True)
        assert all(torch.equal(images, others) for (images, _), (others, _) in pairs)
    with pytest.raises(AssertionError, match="asked"):
        list(other.train.epoch(0, 0, 3))


def _fail(*_: object) -> list[Tensor]:
    raise AssertionError("asked")


def test_what_nvjpeg_is_given() -> None:
    given = {kind: nvjpeg_reads(Image.open(io.BytesIO(file))) for kind, file in JPEGS.items()}
    assert given == {kind: kind not in ("RGB", "CMYK") for kind in JPEGS}
    assert not nvjpeg_reads(Image.open(io.BytesIO(PNG)))


class Stand:
    """Decodes on the CPU in the place of nvJPEG, refuses some files and counts its calls."""

    def __init__(self, refused: tuple[bytes, ...] = ()) -> None:
        self.refused, self.calls = refused, []

    def __call__(self, files: list[Tensor], mode: str, device: torch.device) -> list[Tensor]:
        self.calls.append(len(files))
        if any(file.numpy().tobytes() in self.refused for file in files):
            raise RuntimeError("nvJPEG: not supported")
        return decode_jpegs(files, mode, "cpu")


def keys_for(count: int) -> list[Key]:
    return [stream(0, AUGMENT, 2, position) for position in range(count)]


@pytest.mark.parametrize("crop", [{}, {"crop": "pad", "crop_padding": 2}, {"crop": "none"}])
def test_batches_equal_those_of_the_workers_up_to_pillows_order_of_passes(crop: dict[str, Any]) -> None:
    """nvJPEG's images are never transposed: where Pillow takes columns first a pixel may differ by one level."""
    spec = spec_of("streaming", **{**NVJPEG, **crop})
    files = [*JPEGS.values(), PNG]
    stand = Stand()
    images = NvjpegImages(spec, CPU, stand)
    batch = encoded_batch(Files(files), range(len(files)), keys_for(len(files)), spec)
    made = images(batch)
    assert (stand.calls, images.by_cpu) == ([6], 3)
    workers = device_batch([open_image(io.BytesIO(file), 3) for file in files], keys_for(len(files)), spec)
    expected = augmented(workers.pixels, workers.plan, workers.shifts, spec)
    assert made.shape == expected.shape == (9, 3, 8, 8)
    assert (made.int() - expected.int()).abs().max() <= 1
    assert (made != expected).float().mean() < 0.4
    straight = ~workers.plan.transposed
    assert torch.equal(made[straight], expected[straight])


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_encoded_batches_come_from_worker_processes_and_resume() -> None:
    files = [*JPEGS.values(), PNG]
    made = []
    for workers in (0, 2):
        spec = spec_of("streaming", workers=workers, **NVJPEG)
        batches = ImageBatches(Files(files), np.arange(len(files)), spec)
        loader = BatchLoader(batches, CPU, persistent=True, arrive=NvjpegImages(spec, CPU, Stand()))
        feed = StreamingTrain(loader, torch.arange(len(files)))
        made.append(list(feed.epoch(0, 1, 2)))
        made.append(made[-1][:2] + list(feed.epoch(0, 1, 2, start_step=2)))
    for others in made[1:]:
        for (images, labels), (other, other_labels) in zip(made[0], others, strict=True):
            assert torch.equal(images, other)
            assert torch.equal(labels, other_labels)


def test_loaders_pin_what_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pinning needs an accelerator; here a mark stands for it. Files that nvJPEG reads on the CPU stay as they are."""
    pinned: set[int] = set()

    def mark(values: Tensor, *_: object) -> Tensor:
        values = values.clone()
        pinned.add(id(values))
        kept.append(values)
        return values

    kept: list[Tensor] = []
    monkeypatch.setattr(Tensor, "pin_memory", mark)
    spec = spec_of("streaming", **{**NVJPEG, "crop": "pad"})
    images = [open_image(io.BytesIO(PNG), 3)]
    for batch in (device_batch(images, keys_for(1), spec), encoded_batch(Files([PNG]), [0], keys_for(1), spec)):
        moved = pin_memory(batch)
        assert type(moved) is type(batch)
        tensors = [value for value in vars(moved.plan).values() if isinstance(value, Tensor)]
        tensors += [*vars(moved.shifts).values(), *([moved.pixels] if isinstance(moved, DeviceBatch) else [])]
        assert len(tensors) >= 9
        assert all(id(values) in pinned for values in tensors)
        assert isinstance(moved, DeviceBatch) or id(moved.encoded) not in pinned


def test_refused_files_go_to_the_cpu_and_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    spec = spec_of("streaming", **NVJPEG)
    files = [JPEGS["4:2:0"], JPEGS["progressive"], JPEGS["4:4:4"]]
    batch = encoded_batch(Files(files), range(3), keys_for(3), spec)
    expected = NvjpegImages(spec, CPU, Stand())(batch)
    stand = Stand(refused=(JPEGS["progressive"],))
    images = NvjpegImages(spec, CPU, stand)
    with caplog.at_level("WARNING", "mixbench.data"):
        assert torch.equal(images(batch), expected)
        assert (stand.calls, images.by_cpu) == ([3, 1, 1, 1], 1)
        for _ in range(9):
            images(batch)
    said = [record.getMessage() for record in caplog.records]
    assert [line.partition(": ")[2] for line in said] == ["1 so far, now file 1", "10 so far, now file 1"]


def test_a_decoder_that_gives_another_size_is_not_trusted() -> None:
    spec = spec_of("streaming", **NVJPEG)
    batch = encoded_batch(Files([JPEGS["odd"]]), [0], keys_for(1), spec)
    images = NvjpegImages(spec, CPU, lambda files, mode, device: [torch.zeros(3, 93, 124, dtype=torch.uint8)])
    assert torch.equal(images(batch), NvjpegImages(spec, CPU, Stand())(batch))
    assert images.by_cpu == 1


def test_memory_that_runs_out_is_not_taken_for_a_bad_file() -> None:
    def full(*_: object) -> list[Tensor]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    spec = spec_of("streaming", **NVJPEG)
    with pytest.raises(torch.OutOfMemoryError):
        NvjpegImages(spec, CPU, full)(encoded_batch(Files([JPEGS["odd"]]), [0], keys_for(1), spec))


def test_nvjpeg_batches_name_damaged_files() -> None:
    spec = spec_of("streaming", **NVJPEG)
    with pytest.raises(BadInput, match=r"^unreadable image: file 1 \(not an image\)"):
        encoded_batch(Files([PNG, b"nothing"]), range(2), keys_for(2), spec)
    cut_off = JPEGS["4:2:0"][:3000]
    batch = encoded_batch(Files([PNG, cut_off]), range(2), keys_for(2), spec)
    with pytest.raises(BadInput, match=r"^unreadable image: file 1 \(.*truncated"):
        NvjpegImages(spec, CPU, Stand())(batch)


def test_decoders_that_are_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check_decoder("pil", CPU)
    check_decoder("torchvision", CPU)
    with pytest.raises(BadInput, match="needs a CUDA device, this run is on cpu; use torchvision or pil"):
        check_decoder("nvjpeg", CPU)
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path / "cache"))
    root = write_folder(tmp_path / "data")
    with pytest.raises(BadInput, match="nvjpeg: needs a CUDA device"):
        open_data(spec_of("streaming", root=root, workers=0, **NVJPEG))

    def built_without(*_: object) -> list[Tensor]:
        raise RuntimeError("not compiled with nvJPEG support\nC++ stack")

    monkeypatch.setattr(jpeg, "decode_jpegs", built_without)
    with pytest.raises(BadInput, match=r"cannot do it \(not compiled with nvJPEG support\); use pil$"):
        check_decoder("nvjpeg", torch.device("cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="nvJPEG needs a CUDA device")
def test_nvjpeg_itself() -> None:
    """Within the rounding of another inverse transform and another interpolation of chroma."""
    device = torch.device("cuda")
    check_decoder("nvjpeg", device)
    spec = spec_of("streaming", resolution=64, **NVJPEG)
    files = [*JPEGS.values(), PNG]
    batch = encoded_batch(Files(files), range(len(files)), keys_for(len(files)), spec)
    images = NvjpegImages(spec, device)
    made, expected = images(batch).cpu(), NvjpegImages(spec, CPU, Stand())(batch)
    assert images.by_cpu < len(files) - 3
    assert (made.int() - expected.int()).abs().float().mean() < 2
