"""Decoding: every kind of pixel that Pillow knows, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data.decode import UnreadableImage, fit, open_image, to_array
from bench.data.progress import Progress
from bench.data.threads import in_threads
from tests.unit.data_folders import random_pixels


def saved(image: Image.Image, ending: str = "png", **options: object) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, ending, **options)
    file.seek(0)
    return file


COLOUR = Image.fromarray(random_pixels(1, 6, 5, 3))
LEVELS = np.array([[0, 128, 129, 65535], [32768, 257, 256, 300]], dtype=np.uint16)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"])
@pytest.mark.parametrize(("channels", "wanted"), [(1, "L"), (3, "RGB")])
def test_modes_convert_as_pillow_does(mode: str, channels: int, wanted: str) -> None:
    file = saved(COLOUR.convert(mode), "tiff" if mode == "CMYK" else "png")
    expected = np.asarray(Image.open(file).convert(wanted))
    assert np.array_equal(np.asarray(open_image(file, channels)), expected)


def test_a_palette_with_transparency_keeps_its_colours() -> None:
    file = saved(COLOUR.quantize(8), transparency=bytes([0, 255, 128]))
    assert np.array_equal(np.asarray(open_image(file, 3)), np.asarray(Image.open(file).convert("RGBA"))[..., :3])


@pytest.mark.parametrize("kind", [np.uint16, np.int32])
def test_sixteen_bits_are_scaled_not_clipped(kind: type) -> None:
    file = saved(Image.fromarray(LEVELS.astype(kind)), "tiff")
    assert np.array_equal(np.asarray(open_image(file, 1)), np.rint(LEVELS * (255 / 65535)).astype(np.uint8))


def test_pixels_without_a_known_range_are_refused() -> None:
    with pytest.raises(UnreadableImage, match="floating-point"):
        open_image(saved(Image.fromarray(np.ones((2, 2), dtype=np.float32)), "tiff"), 3)
    with pytest.raises(UnreadableImage, match="outside 16 bits"):
        open_image(saved(Image.fromarray(np.array([[-1, 70000]], dtype=np.int32)), "tiff"), 3)


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.fromarray(random_pixels(seed, 4, 4)) for seed in (1, 2)]
    file = saved(frames[0], "gif", save_all=True, append_images=frames[1:])
    assert np.array_equal(np.asarray(open_image(file, 1)), np.asarray(frames[0]))


@pytest.mark.parametrize("ending", ["png", "jpeg", "bmp", "webp", "gif"])
def test_truncated_files_are_refused(ending: str) -> None:
    whole = saved(Image.fromarray(random_pixels(3, 40, 40, 3)), ending).getvalue()
    with pytest.raises(UnreadableImage):
        open_image(io.BytesIO(whole[: len(whole) // 2]), 3)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_refused(content: bytes) -> None:
    with pytest.raises(UnreadableImage):
        open_image(io.BytesIO(content), 3)


@pytest.mark.parametrize("limit", [14, 20])
def test_pillows_limit_on_pixels_is_explained(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    file = saved(COLOUR)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(UnreadableImage, match=f"limit of {limit} pixels"):
        open_image(file, 3)


def test_an_image_of_the_right_size_is_not_resampled() -> None:
    assert fit(COLOUR.crop((0, 0, 5, 5)), 5, 5).tobytes() == COLOUR.crop((0, 0, 5, 5)).tobytes()


def test_arrays_have_channels_first() -> None:
    assert np.array_equal(to_array(COLOUR), np.asarray(COLOUR).transpose(2, 0, 1))
    assert to_array(COLOUR.convert("L")).shape == (1, 6, 5)


def test_threads_keep_the_order_and_raise_what_is_raised(capsys: pytest.CaptureFixture[str]) -> None:
    squares = [number**2 for number in range(300)]
    assert in_threads("squaring", "numbers", range(300), lambda number: number**2) == squares
    assert capsys.readouterr().err == ""
    assert len(in_threads("squaring", "numbers", range(2500), lambda number: number**2)) == 2500
    assert capsys.readouterr().err.startswith("squaring: 2500 numbers\n")
    with pytest.raises(ZeroDivisionError):
        in_threads("dividing", "numbers", range(300), lambda number: 1 // (number - 200))


def test_progress_says_little_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 3.0, 12.0, 13.0])
    monkeypatch.setattr("bench.data.progress.time.monotonic", lambda: next(clock))
    with Progress("decoding", 40, "images") as progress:
        progress.advance(10)
        progress.advance(10)
    assert capsys.readouterr().err == "decoding: 40 images\ndecoding: 20 of 40 images\n"


def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Progress("decoding", 40, "images") as progress:
        progress.advance(40)
    assert "decoding" in terminal.getvalue()
    assert "\n" not in terminal.getvalue().strip("\n")


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="No such file"):
        open_image(tmp_path / "gone.png", 3)
