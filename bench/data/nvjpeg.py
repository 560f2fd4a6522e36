"""JPEG files decoded on a CUDA device by nvJPEG, through torchvision."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.data.decode import UnreadableImage, open_image, reasons, to_array
from bench.data.device_batch import Shifts, augmented, cut, shifts_of
from bench.data.jpeg import decode_jpegs
from bench.data.listing import Reader
from bench.data.placement import placement
from bench.data.resize_plan import ResizePlan, resize_plan
from bench.data.training_image import unreadable
from bench.spec import DataSpec
from methods.ops.keys import Key

log = logging.getLogger("mixbench.data")

Decode = Callable[[list[Tensor], str, torch.device], list[Tensor]]
"""See bench.data.jpeg.decode_jpegs."""
RGB_NAMES = [ord("R"), ord("G"), ord("B")]


@dataclass(frozen=True)
class EncodedBatch:
    """A training batch of files, uint8 `encoded` (bytes,), one after the other.

    sizes: bytes of each. shapes: height and width that its header tells. for_cpu: images that nvJPEG would refuse or
    read in wrong colours. names: for errors. The plan reads from the whole images, one after the other.
    """

    encoded: Tensor
    sizes: tuple[int, ...]
    shapes: tuple[tuple[int, int], ...]
    for_cpu: tuple[bool, ...]
    names: tuple[str, ...]
    plan: ResizePlan
    shifts: Shifts | None

    def pin_memory(self) -> EncodedBatch:
        """Called by the DataLoader. The files stay where they are: nvJPEG reads them on the CPU."""
        pin = lambda values: values.pin_memory()  # noqa: E731
        shifts = None if self.shifts is None else self.shifts.moved(pin)
        return EncodedBatch(
            self.encoded, self.sizes, self.shapes, self.for_cpu, self.names, self.plan.moved(pin), shifts
        )


def encoded_batch(reader: Reader, places: Sequence[int], keys: Sequence[Key], data: DataSpec) -> EncodedBatch:
    """Read the files and draw crops and flips by the sizes in their headers. BadInput names one that is no image."""
    files, shapes, for_cpu, placements, cuts, offset = [], [], [], [], [], 0
    for place, key in zip(places, keys, strict=True):
        file = reader.encoded(place)
        try:
            with reasons(), Image.open(io.BytesIO(file)) as header:
                width, height = header.size
                for_cpu.append(not nvjpeg_reads(header))
        except UnreadableImage as reason:
            raise unreadable(reader.name(place), reason) from None
        placed = placement(width, height, data, key)
        left, top, _, _ = placed.box
        files.append(np.frombuffer(file, dtype=np.uint8))
        shapes.append((height, width))
        placements.append(placed)
        cuts.append(cut(placed, data, offset + top * width + left, width, False))
        offset += height * width
    return EncodedBatch(
        torch.from_numpy(np.concatenate(files)), tuple(len(file) for file in files), tuple(shapes), tuple(for_cpu),
        tuple(reader.name(place) for place in places), resize_plan(cuts, data.resolution), shifts_of(placements, data),
    )  # fmt: skip


def nvjpeg_reads(header: Image.Image) -> bool:
    """Whether an opened image is a JPEG file, grey or stored as luma and chroma.

    nvJPEG takes three channels for luma and chroma; libjpeg, which Pillow and torchvision's CPU decoder use, sees by
    Adobe's marker or the channels' names that some files hold red, green and blue.
    """
    if header.format != "JPEG" or header.mode not in ("L", "RGB"):
        return False
    names = [layer[0] for layer in getattr(header, "layer", [])]
    return header.mode == "L" or (header.info.get("adobe_transform") != 0 and names != RGB_NAMES)


class NvjpegImages:
    """Decodes batches on the device and augments them there. by_cpu: images that the CPU had to decode so far."""

    def __init__(self, data: DataSpec, device: torch.device, decode: Decode = decode_jpegs) -> None:
        self.data, self.device, self.decode = data, device, decode
        self.by_cpu = 0

    def __call__(self, batch: EncodedBatch) -> Tensor:
        """uint8 (B, C, resolution, resolution) on the device. BadInput names an image that no decoder can read."""
        images = self._decoded(batch)
        pixels = torch.cat([image.permute(1, 2, 0).reshape(-1, self.data.channels) for image in images])
        shifts = None if batch.shifts is None else batch.shifts.moved(self._moved)
        return augmented(pixels, batch.plan.moved(self._moved), shifts, self.data)

    def _decoded(self, batch: EncodedBatch) -> list[Tensor]:
        files = batch.encoded.split(list(batch.sizes))
        chosen = [number for number, for_cpu in enumerate(batch.for_cpu) if not for_cpu]
        found = dict(zip(chosen, self._on_device([files[number] for number in chosen]), strict=True))
        images = []
        for number, file in enumerate(files):
            image = found.get(number)
            if image is None or tuple(image.shape[1:]) != batch.shapes[number]:
                image = self._on_cpu(file, batch.names[number])
            images.append(image)
        return images

    def _on_device(self, files: list[Tensor]) -> list[Tensor | None]:
        """All at once; one by one where that fails, with None for those that nvJPEG refuses."""
        if not files:
            return []
        mode = "RGB" if self.data.channels == 3 else "GRAY"
        try:
            return list(self.decode(files, mode, self.device))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            return [None] if len(files) == 1 else [image for file in files for image in self._on_device([file])]

    def _on_cpu(self, file: Tensor, name: str) -> Tensor:
        try:
            image = open_image(io.BytesIO(file.numpy().tobytes()), self.data.channels)
        except UnreadableImage as reason:
            raise unreadable(name, reason) from None
        self.by_cpu += 1
        if 10 ** (len(str(self.by_cpu)) - 1) == self.by_cpu:  # 1, 10, 100 ...
            log.warning("images that nvJPEG does not read and the CPU decodes: %d so far, now %s", self.by_cpu, name)
        return self._moved(torch.from_numpy(to_array(image).copy()))

    def _moved(self, values: Tensor) -> Tensor:
        return values.to(self.device, non_blocking=True)
