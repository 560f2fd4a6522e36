"""Predictions and weights of strangers: headers are looked at before anything is unpacked, pickles never are."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bench.verify.evaluations import tolerated
from bench.verify.lines import mapping
from bench.verify.problem import Problem
from bench.verify.training import Attempt

if TYPE_CHECKING:
    import numpy as np

MEMBERS = ("top1", "labels", "probability")
LARGEST_ARRAY = 512 * 2**20
LARGEST_HEADER = 64 * 2**20
_SURELY = 0.501
"""A label with more than half of the probability is the answer; half precision rounds to 0.5 from above."""


class Refused(Exception):
    """A file that is not what it should be; the text says why."""


def check_predictions(path: Path, name: str, attempt: Attempt) -> tuple[str, list[Problem]]:
    """A digest of the labels in their order ("" where they cannot be read), and the problems."""
    import hashlib

    try:
        top1, labels, probability = read_predictions(path)
    except Refused as refusal:
        return "", [Problem(name, None, str(refusal))]
    problems = [Problem(name, None, text) for text in _disagreements(top1, labels, probability, attempt)]
    return hashlib.blake2b(labels.astype("<i8").tobytes(), digest_size=8).hexdigest(), problems


def read_predictions(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predicted classes, labels and the labels' probabilities, (N,) each. Refused for anything else."""
    import numpy as np

    try:
        with zipfile.ZipFile(path) as archive:
            infos = {info.filename: info for info in archive.infolist()}
            if len(archive.infolist()) != len(MEMBERS) or set(infos) != {f"{one}.npy" for one in MEMBERS}:
                raise Refused(f"does not hold exactly the arrays {', '.join(MEMBERS)}")
            found = {one: _array(archive, infos[f"{one}.npy"], one) for one in MEMBERS}
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
        raise Refused(f"cannot be read ({type(error).__name__})") from None
    top1, labels, probability = (found[one] for one in MEMBERS)
    if not all(array.dtype in (np.uint8, np.uint16) for array in (top1, labels)) or probability.dtype != np.float16:
        raise Refused("classes are not uint8 or uint16, or probabilities are not float16")
    if len({array.shape for array in found.values()}) != 1 or top1.ndim != 1 or not len(top1):
        raise Refused("the arrays are not one number an image each")
    return top1, labels, probability


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> np.ndarray:
    """One array, whose header must ask for just the bytes that follow it."""
    import numpy as np

    if info.file_size > LARGEST_ARRAY or info.flag_bits & 1:
        raise Refused(f"{name} unpacks to {info.file_size} bytes, more than the {LARGEST_ARRAY} that are read")
    with archive.open(info) as member:
        content = member.read(info.file_size + 1)
    stream = io.BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise Refused(f"{name} is not in version 1.0 of NumPy's format")
    shape, _, kind = np.lib.format.read_array_header_1_0(stream)
    asked = kind.itemsize
    for side in shape:
        asked *= side
    if kind.hasobject or asked != len(content) - stream.tell():
        raise Refused(f"{name} holds objects, or not the bytes that its header asks for")
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)


def _disagreements(top1: np.ndarray, labels: np.ndarray, probability: np.ndarray, attempt: Attempt) -> Iterator[str]:
    import numpy as np

    count, right = len(labels), int((top1 == labels).sum())
    if attempt.images is not None and count != attempt.images:
        yield f"{count} images, but the last epoch was measured on {attempt.images}"
    elif attempt.images is not None and attempt.last_top1 is not None:
        recorded = round(attempt.last_top1 * attempt.images)
        if abs(right - recorded) > tolerated(count):
            yield f"{right} of {count} right, but the last epoch's top1 says {recorded}"
    wide = probability.astype(np.float32)
    if not bool(((wide >= 0) & (wide <= 1)).all()):
        yield "probabilities outside [0, 1]"
    elif bool(((wide > _SURELY) & (top1 != labels)).any()):
        yield "images whose label has more than half of the probability, and another answer"


def check_weights(path: Path, name: str) -> list[Problem]:
    """The header of a safetensors file: its tensors lie one after the other and fill the file."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > LARGEST_HEADER:
                raise Refused("its header is too large")
            header: Any = json.loads(file.read(length))
        size = path.stat().st_size - 8 - length
        ends = sorted(_offsets(one) for key, one in mapping(header).items() if key != "__metadata__")
    except (Refused, OSError, ValueError, struct.error, RecursionError) as error:
        return [Problem(name, None, f"is no safetensors file ({str(error)[:100] or type(error).__name__})")]
    place = 0
    for start, end in ends:
        if start != place or end < start:
            return [Problem(name, None, "is no safetensors file (tensors overlap or leave gaps)")]
        place = end
    return [] if ends and place == size else [Problem(name, None, "is no safetensors file (tensors do not fill it)")]


def _offsets(tensor: Any) -> tuple[int, int]:
    found = mapping(tensor).get("data_offsets")
    if not isinstance(found, list):
        raise Refused("a tensor without offsets")
    pair = cast("list[Any]", found)
    if len(pair) != 2 or not all(isinstance(one, int) for one in pair):
        raise Refused("a tensor without offsets")
    return pair[0], pair[1]
