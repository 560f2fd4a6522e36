"""Picture files and torchvision's data sets, decoded and cut to size as evaluation images are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.data.decode import UnreadableImage, converted, fit, open_image, to_array
from bench.data.threads import in_threads
from bench.errors import BadInput, nearest
from bench.evals.ood_ops.names import image_files

GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")
"""Pillow's modes of one channel."""
TORCHVISION: dict[str, tuple[dict[str, Any], bool]] = {
    "CIFAR10": ({"train": False}, True),
    "CIFAR100": ({"train": False}, True),
    "DTD": ({"split": "test"}, True),
    "FashionMNIST": ({"train": False}, False),
    "Flowers102": ({"split": "test"}, True),
    "Food101": ({"split": "test"}, True),
    "GTSRB": ({"split": "test"}, True),
    "KMNIST": ({"train": False}, False),
    "MNIST": ({"train": False}, False),
    "OxfordIIITPet": ({"split": "test"}, True),
    "Places365": ({"split": "val", "small": True}, True),
    "STL10": ({"split": "test"}, True),
    "SVHN": ({"split": "test"}, True),
    "USPS": ({"train": False}, False),
}
"""Data sets that can be named: the arguments of their test part, and whether they are in colour."""


class Pictures(Protocol):
    """An ordered set of pictures."""

    size: int
    in_colour: bool

    def open(self, position: int, channels: int) -> Image.Image:
        """One picture as grey (channels 1) or RGB (3). UnreadableImage where it is none."""
        ...

    def title(self, position: int) -> str:
        """What to call it in an error."""
        ...


class FolderPictures:
    """All images below a folder, in the order of their paths. in_colour: at least one file has colour channels.

    BadInput where the folder is missing or has no image, or a file is none.
    """

    def __init__(self, place: str) -> None:
        self.folder = Path(place).expanduser().absolute()
        if not self.folder.is_dir():
            raise BadInput(f"ood: folder:{place}: there is no such folder")
        self.files = image_files(self.folder)
        self.size = len(self.files)
        if not self.files:
            raise BadInput(f"ood: folder:{place}: has no images")
        self.in_colour = any(self._in_colour(position) for position in range(self.size))

    def open(self, position: int, channels: int) -> Image.Image:
        """One picture as grey or RGB."""
        return open_image(self.folder / self.files[position].path, channels)

    def title(self, position: int) -> str:
        """Its path."""
        return str(self.folder / self.files[position].path)

    def _in_colour(self, position: int) -> bool:
        try:
            with Image.open(self.folder / self.files[position].path) as image:
                return image.mode not in GREY_MODES
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise BadInput(
                f"ood: {self.title(position)}: is not an image that can be read; repair or remove it"
            ) from None


class TorchvisionPictures:
    """The test part of one of torchvision's data sets, which must be there already: nothing is downloaded."""

    def __init__(self, name: str, root: str) -> None:
        if name not in TORCHVISION:
            raise BadInput(f"ood: torchvision:{name}: is not a set that is known; {nearest(name, TORCHVISION)}")
        import torchvision.datasets

        arguments, self.in_colour = TORCHVISION[name]
        self.name = name
        place = str(Path(root).expanduser().absolute())
        try:
            self.dataset: Any = getattr(torchvision.datasets, name)(place, download=False, **arguments)
        except (OSError, RuntimeError, EOFError) as error:
            given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise BadInput(
                f"ood: torchvision:{name}: is not in {root} ({reason}); get it by torchvision.datasets."
                f"{name}({root!r}, {given}, download=True)"
            ) from None
        self.size = len(self.dataset)

    def open(self, position: int, channels: int) -> Image.Image:
        """One picture as grey or RGB."""
        return converted(lambda: self.dataset[position][0], channels)

    def title(self, position: int) -> str:
        """The set and the place in it."""
        return f"torchvision:{self.name}, image {position}"


def check_channels(label: str, pictures: Pictures, channels: int, convert: bool) -> None:
    """BadInput where a grey set meets a network for colour, or the reverse, and converting was not asked for."""
    if convert or pictures.in_colour == (channels == 3):
        return
    found, cure = ("in colour", "take their luma") if pictures.in_colour else ("grey", "repeat the grey values")
    taken = "1 channel" if channels == 1 else f"{channels} channels"
    raise BadInput(
        f"ood: {label}: its images are {found}, the network takes {taken}; set convert_channels: true to {cure}"
    )


def picture_loader(
    pictures: Pictures, shape: tuple[int, int, int], crop_share: float, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """A function of positions (B,) that gives uint8 images (B, C, H, W) of `shape` on the device.

    The shorter side is resized to H / crop_share, rounded down, and the centre H x H is kept (H == W).
    """
    channels, side, _ = shape

    def decode(position: int) -> np.ndarray:
        try:
            return to_array(fit(pictures.open(position, channels), int(side / crop_share), side))
        except UnreadableImage as reason:
            raise BadInput(f"ood: {pictures.title(position)}: {reason}; repair or remove it") from None

    def load(positions: Tensor) -> Tensor:
        return torch.from_numpy(np.stack(in_threads("decoding", "images", positions.tolist(), decode))).to(device)

    return load
