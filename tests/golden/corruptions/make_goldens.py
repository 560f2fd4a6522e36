"""Make reference.npz: slow references of every corruption on photographs, with given draws. Not run by the tests.

Needs opencv-python 5.0, scikit-image 0.26 and Wand 0.7 with ImageMagick 6.9.11 beside the project's own environment:
python tests/golden/corruptions/make_goldens.py [--check]. With --check it compares all values, not only the stored
ones, and prints the share of equal values and the largest difference at severities 1 to 5.
"""

from __future__ import annotations

import ctypes
import io
import math
import sys
from pathlib import Path

import cv2
import numpy as np
import skimage.color
import skimage.filters
from PIL import Image
from scipy import ndimage
from wand.api import library
from wand.image import Image as MagickImage

sys.path[:0] = [str(Path(__file__).parents[2] / "oracle"), str(Path(__file__).parents[3])]

import test_corruptions_goldens as shared  # noqa: E402

from bench.evals.corruption_ops import severities  # noqa: E402

library.MagickMotionBlurImage.argtypes = (ctypes.c_void_p, ctypes.c_double, ctypes.c_double, ctypes.c_double)
Entry = tuple


def magick_motion(levels: np.ndarray, radius: float, sigma: float, degrees: float) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "PNG")
    with MagickImage(blob=file.getvalue()) as image:
        library.MagickMotionBlurImage(image.wand, radius, sigma, degrees)
        blurred = cv2.imdecode(np.frombuffer(image.make_blob("PNG"), np.uint8), cv2.IMREAD_UNCHANGED)
    if blurred.ndim == 2:
        return blurred if levels.ndim == 2 else np.repeat(blurred[..., None], 3, axis=2)
    return blurred[..., ::-1][..., :3]


def soften(values: np.ndarray, sigma: float, **options: object) -> np.ndarray:
    return skimage.filters.gaussian(values, sigma=sigma, channel_axis=-1 if values.ndim == 3 else None, **options)


def middle_zoom(values: np.ndarray, factor: float) -> np.ndarray:
    size = len(values)
    kept = math.ceil(size / factor)
    start = (size - kept) // 2
    steps = (factor, factor) + (1,) * (values.ndim - 2)
    large = ndimage.zoom(values[start : start + kept, start : start + kept], steps, order=1)
    start = (len(large) - size) // 2
    return large[start : start + size, start : start + size]


def gaussian_noise(x: np.ndarray, sigma: float, noise: np.ndarray) -> np.ndarray:
    return np.clip(x / 255 + sigma * noise.astype(float), 0, 1) * 255


def speckle_noise(x: np.ndarray, sigma: float, noise: np.ndarray) -> np.ndarray:
    return np.clip(x / 255 + x / 255 * (sigma * noise.astype(float)), 0, 1) * 255


def gaussian_blur(x: np.ndarray, sigma: float) -> np.ndarray:
    return np.clip(soften(x / 255, sigma), 0, 1) * 255


def glass_blur(x: np.ndarray, entry: Entry, offsets: np.ndarray) -> np.ndarray:
    sigma, reach, rounds = entry
    levels = np.uint8(soften(x / 255, sigma) * 255)
    size = len(x)
    for number in range(rounds):
        for row in range(size - reach, reach, -1):
            for column in range(size - reach, reach, -1):
                down, right = offsets[number, row, column]
                levels[row, column] = levels[row + down, column + right]
    return np.clip(soften(levels / 255, sigma), 0, 1) * 255


def defocus_blur(x: np.ndarray, entry: Entry) -> np.ndarray:
    radius, sigma = entry
    half, width = (8, 3) if radius <= 8 else (int(radius), 5)
    line = np.arange(-half, half + 1)
    disk = np.float32(line[:, None] ** 2 + line**2 <= radius**2)
    kernel = cv2.GaussianBlur(disk / disk.sum(), (width, width), sigmaX=sigma)
    return np.clip(np.dstack([cv2.filter2D(x[..., c] / 255, -1, kernel) for c in range(3)]), 0, 1) * 255


def motion_blur(x: np.ndarray, entry: Entry, degrees: float) -> np.ndarray:
    return magick_motion(x, *entry, degrees)


def zoom_blur(x: np.ndarray, entry: Entry) -> np.ndarray:
    pixels = np.float32(x / 255)
    layers = [pixels, *(middle_zoom(pixels, factor) for factor in np.arange(1, *entry))]
    total = np.zeros_like(pixels)
    for layer in layers[1:]:
        total += layer
    return np.clip((pixels + total) / len(layers), 0, 1) * 255


def snow(x: np.ndarray, entry: Entry, field: np.ndarray, degrees: float) -> np.ndarray:
    mean, deviation, factor, threshold, radius, sigma, kept = entry
    flakes = middle_zoom(mean + deviation * field.astype(float), factor)
    flakes[flakes < threshold] = 0
    layer = magick_motion((np.clip(flakes, 0, 1) * 255).astype(np.uint8), radius, sigma, degrees)[..., None] / 255
    pixels = np.float32(x) / 255
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None]
    pixels = kept * pixels + (1 - kept) * np.maximum(pixels, grey * 1.5 + 0.5)
    return np.clip(pixels + layer + np.rot90(layer, 2), 0, 1) * 255


def frost(x: np.ndarray, entry: Entry, crops: np.ndarray) -> np.ndarray:
    return np.clip(entry[0] * x + entry[1] * crops, 0, 255)


def clouds(field: np.ndarray, decay: float) -> np.ndarray:
    size = len(field)
    heights = np.zeros((size, size))
    roughness, step = 100.0, size
    while step > 1:
        half = step // 2
        for row in range(0, size, step):
            for column in range(0, size, step):
                square = [heights[(row + a) % size, (column + b) % size] for a in (0, step) for b in (0, step)]
                heights[row + half, column + half] = sum(square) / 4 + roughness**2 * field[row + half, column + half]
        for first in (0, half):
            for row in range(first, size, step):
                for column in range(half - first, size, step):
                    ring = ((0, half), (0, -half), (half, 0), (-half, 0))
                    cross = [heights[(row + a) % size, (column + b) % size] for a, b in ring]
                    heights[row, column] = sum(cross) / 4 + roughness**2 * field[row, column]
        roughness /= decay
        step = half
    heights -= heights.min()
    return heights / heights.max()


def fog(x: np.ndarray, entry: Entry, field: np.ndarray) -> np.ndarray:
    amount, decay = entry
    pixels = x / 255
    added = amount * clouds(field.astype(float), decay)[: len(x), : len(x), None]
    return np.clip((pixels + added) * pixels.max() / (pixels.max() + amount), 0, 1) * 255


def hsv(x: np.ndarray, channel: int, factor: float, shift: float) -> np.ndarray:
    values = skimage.color.rgb2hsv(x / 255)
    values[..., channel] = np.clip(values[..., channel] * factor + shift, 0, 1)
    return np.clip(skimage.color.hsv2rgb(values), 0, 1) * 255


def brightness(x: np.ndarray, shift: float) -> np.ndarray:
    return hsv(x, 2, 1, shift)


def saturate(x: np.ndarray, entry: Entry) -> np.ndarray:
    return hsv(x, 1, *entry)


def contrast(x: np.ndarray, factor: float) -> np.ndarray:
    mean = np.mean(x / 255, axis=(0, 1), keepdims=True)
    return np.clip((x / 255 - mean) * factor + mean, 0, 1) * 255


def jpeg_compression(x: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(x).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def pixelate(x: np.ndarray, share: float) -> np.ndarray:
    small = int(len(x) * share)
    box = Image.Resampling.BOX
    return np.asarray(Image.fromarray(x).resize((small, small), box).resize((len(x), len(x)), box))


def elastic_transform(x: np.ndarray, entry: Entry, corners: np.ndarray, field: np.ndarray) -> np.ndarray:
    size = len(x)
    alpha, sigma, affine = (share * severities.ELASTIC_UNIT[size] for share in entry)
    middle, arm = size // 2, size // 3
    anchors = np.float32([(middle + arm, middle + arm), (middle + arm, middle - arm), (middle - arm, middle - arm)])
    matrix = cv2.getAffineTransform(anchors, anchors + np.float32(corners * affine))
    pixels = cv2.warpAffine(np.float32(x) / 255, matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101)
    right, down = (np.float32(soften(part.astype(float), sigma, mode="reflect", truncate=3) * alpha) for part in field)
    rows, columns = np.mgrid[:size, :size]
    bent = [
        ndimage.map_coordinates(pixels[..., c], (rows + down, columns + right), order=1, mode="reflect")
        for c in range(3)
    ]
    return np.clip(np.dstack(bent), 0, 1) * 255


def spatter(x: np.ndarray, entry: Entry, field: np.ndarray) -> np.ndarray:
    mean, deviation, sigma, threshold, amount, mud = entry
    liquid = soften(mean + deviation * field.astype(float), sigma)
    liquid[liquid < threshold] = 0
    pixels = np.float32(x) / 255
    if mud:
        cover = soften(np.float32(liquid > threshold), amount)[..., None]
        cover[cover < 0.8] = 0
        return np.clip(pixels * (1 - cover) + cover * np.array([63, 42, 20]) / 255, 0, 1) * 255
    levels = (liquid * 255).astype(np.uint8)
    distance = cv2.distanceTransform(255 - cv2.Canny(levels, 50, 150), cv2.DIST_L2, 5)
    distance = cv2.threshold(distance, 20, 20, cv2.THRESH_TRUNC)[1]
    height = cv2.equalizeHist(cv2.blur(distance, (3, 3)).astype(np.uint8))
    relief = cv2.filter2D(height, cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]))
    drops = levels * cv2.blur(relief, (3, 3)).astype(np.float32)
    drops = drops / drops.max() * np.float32(amount)
    return np.clip(pixels + drops[..., None] * np.array([175, 238, 238]) / 255, 0, 1) * 255


def reference(corruption: str, severity: int, size: int) -> np.ndarray:
    entry = severities.strength(corruption, severity, size)
    draws = shared.injected(corruption, severity, size)
    return np.stack(
        [
            np.uint8(globals()[corruption](x, entry, *(values[number] for values in draws.values())))
            for number, x in enumerate(shared.photographs(size))
        ]
    )


def main() -> None:
    stored = {}
    for size in severities.TABLES:
        values = np.empty((len(shared.NAMES), 5, shared.SAMPLES), dtype=np.uint8)
        for place, corruption in enumerate(shared.NAMES):
            shown = []
            for severity in range(1, 6):
                output = reference(corruption, severity, size)
                places = shared.positions(corruption, severity, size)
                values[place, severity - 1] = output.reshape(-1)[places]
                if "--check" in sys.argv:
                    off = np.abs(output.astype(int) - shared.product(corruption, severity, size))
                    shown.append(f"{100 * (off == 0).mean():7.3f}% {off.max():3d}")
            print(f"{size:4d} {corruption:18s}", " ".join(shown), flush=True)
        stored[str(size)] = values
    np.savez_compressed(shared.GOLDENS, **stored)


if __name__ == "__main__":
    main()
