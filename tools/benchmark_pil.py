"""The data path one image at a time through PIL: what the batched one is measured against, and the images for both."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images
from torch import Tensor

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
PADDING = 4
_SHIFT = np.array(MEAN, dtype=np.float32)
_SCALE = np.array(STD, dtype=np.float32)


def photographs(count: int, size: int) -> Tensor:
    """Random crops of scikit-learn's two sample photographs, uint8 (count, 3, size, size)."""
    random = np.random.default_rng(0)
    originals = load_sample_images().images
    crops = []
    for number in range(count):
        whole = originals[number % len(originals)]
        top, left = random.integers(whole.shape[0] - size), random.integers(whole.shape[1] - size)
        crops.append(whole[top : top + size, left : left + size])
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()


def to_pil(images: Tensor) -> list[Image.Image]:
    """uint8 (N, 3, H, W) to N images of mode RGB."""
    return [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]


def normalised(image: Image.Image) -> Tensor:
    """An RGB image to normalised float32 (3, H, W), in NumPy."""
    pixels = np.asarray(image, dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray(((pixels / 255 - _SHIFT) / _SCALE).transpose(2, 0, 1)))


def cropped_and_flipped(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """A random crop of the image padded with black, mirrored half of the time. PIL has no faster padding."""
    left, top = random.integers(2 * PADDING + 1, size=2).tolist()
    image = ImageOps.expand(image, PADDING).crop((left, top, left + image.width, top + image.height))
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else image


def augmix_view(image: Image.Image, random: np.random.Generator, severity: float = 3) -> Tensor:
    """One normalised AugMix view with the official CIFAR settings: width 3, depth 1 to 3, Dirichlet and Beta of 1."""
    weights, strength = random.dirichlet(np.ones(3)).tolist(), float(random.beta(1, 1))
    mixed = torch.zeros(3, image.height, image.width)
    for weight in weights:
        chain = image
        for _ in range(random.integers(1, 4)):
            operation = _OPERATIONS[random.integers(len(_OPERATIONS))]
            chain = operation(chain, float(random.uniform(0.1, severity)) / 10, 1 if random.random() < 0.5 else -1)
        mixed.add_(normalised(chain), alpha=weight)
    return normalised(image).mul_(1 - strength).add_(mixed, alpha=strength)


def _affine(image: Image.Image, coefficients: tuple[float, ...]) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, coefficients, resample=Image.Resampling.BILINEAR)


_OPERATIONS: list[Callable[[Image.Image, float, int], Image.Image]] = [
    lambda image, share, sign: ImageOps.autocontrast(image),
    lambda image, share, sign: ImageOps.equalize(image),
    lambda image, share, sign: ImageOps.posterize(image, 4 - int(4 * share)),
    lambda image, share, sign: ImageOps.solarize(image, 256 - int(256 * share)),
    lambda image, share, sign: image.rotate(sign * int(30 * share), resample=Image.Resampling.BILINEAR),
    lambda image, share, sign: _affine(image, (1, sign * 0.3 * share, 0, 0, 1, 0)),
    lambda image, share, sign: _affine(image, (1, 0, 0, sign * 0.3 * share, 1, 0)),
    lambda image, share, sign: _affine(image, (1, 0, sign * int(image.width / 3 * share), 0, 1, 0)),
    lambda image, share, sign: _affine(image, (1, 0, 0, 0, 1, sign * int(image.height / 3 * share))),
]


@contextmanager
def one_thread() -> Generator[None]:
    """Torch with one thread, as PIL has one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def timed(work: Callable[[], object], device: torch.device, images: int, workers: bool = False) -> Callable[[], float]:
    """Seconds an image of `work` on so many images, from an idle device to an idle device.

    On a CPU the thread's own processor time, which other processes do not change; but where worker processes take part
    (workers True), and on accelerators, time by the clock.
    """
    clock = time.thread_time if device.type == "cpu" and not workers else time.perf_counter

    def run() -> float:
        _wait(device)
        started = clock()
        work()
        _wait(device)
        return (clock() - started) / images

    return run


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
