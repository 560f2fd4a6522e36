"""Batched AugMix against PIL and torchvision, which take one image at a time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from bench.data.normalise import Normaliser
from bench.stats import median
from methods.api import BatchShape, Draws
from methods.augmix import AugMix
from methods.ops.keys import Key
from tools.benchmark_pil import MEAN, STD, augmix_view, normalised, one_thread, photographs, timed, to_pil
from tools.interleaved import Row, ratio_row, seconds_in_turns

ROUNDS = 9
CASES = {"cpu": ((32, 128), (224, 16)), "cuda": ((32, 512), (224, 128))}
"""Image and batch sizes by kind of device."""
ONE_BY_ONE = 1_000_000
"""Pixels that the baselines augment in a round, and at most one batch."""


def rows(device: str) -> list[Row]:
    """Ratios of a baseline's time an image to that of the batch: how many times faster the batch is.

    Seconds are those of the batch, an image. The batch is drawn, moved to the device, augmented and normalised there;
    the baselines run on one CPU core. torchvision's operations are the paper's nine.
    """
    place = torch.device(device)
    with one_thread():
        return [
            row for size, batch in CASES[place.type] for jsd in (False, True) for row in _case(size, batch, jsd, place)
        ]


def _case(size: int, batch: int, jsd: bool, device: torch.device) -> list[Row]:
    images = photographs(batch, size)
    few = images[: max(8, ONE_BY_ONE // size**2)]
    views = 2 if jsd else 1
    baselines = {
        "PIL": timed(_pil(to_pil(few), views), torch.device("cpu"), len(few)),
        "torchvision v2.AugMix": timed(_torchvision(few, views), torch.device("cpu"), len(few)),
    }
    candidates = {"batch": timed(_batched(images.to(device), jsd), device, batch), **baselines}
    seconds_in_turns(candidates, 1)
    found = seconds_in_turns(candidates, ROUNDS)
    what = "AugMix, image and two views" if jsd else "AugMix, one view"
    case = f"{size} px, B {batch}, {device.type}"
    return [
        ratio_row(what, case, name, found[name], found["batch"], _target(name, size, device))
        | {"seconds": median(found["batch"])}
        for name in baselines
    ]


def _batched(images: Tensor, jsd: bool) -> Callable[[], object]:
    method, normalise = AugMix(jsd=jsd), Normaliser(MEAN, STD).to(images.device)
    shape, steps = BatchShape(*images.shape), count()

    def augment() -> object:
        draws = method.draw(Key("augmix benchmark", next(steps)), shape)
        moved = {name: values.to(images.device, non_blocking=True) for name, values in draws.tensors.items()}
        return method.views(images, normalise, Draws(tensors=moved))

    return augment


def _pil(images: list[Image.Image], views: int) -> Callable[[], object]:
    random = np.random.default_rng(0)

    def augment() -> object:
        made = [augmix_view(image, random) for image in images for _ in range(views)]
        clean = [normalised(image) for image in images] if views > 1 else []
        return torch.stack(clean + made)

    return augment


def _torchvision(images: Tensor, views: int) -> Callable[[], object]:
    transform = v2.AugMix(all_ops=False)
    normalise = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(MEAN), list(STD))])

    def augment() -> object:
        made = [normalise(transform(image)) for image in images for _ in range(views)]
        clean = [normalise(image) for image in images] if views > 1 else []
        return torch.stack(clean + made)

    return augment


def _target(baseline: str, size: int, device: torch.device) -> str:
    if baseline != "PIL" or size != 32:
        return ""
    return ">= 200" if device.type == "cuda" else ">= 3"
