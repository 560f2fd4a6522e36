"""The published CIFAR-10-C and CIFAR-100-C files: an array a corruption, the test images five times, mildest first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.data.resident import ResidentEval
from bench.errors import BadInput, nearest

SEVERITIES = 5
IMAGE = (32, 32, 3)


def holds_arrays(folder: Path) -> bool:
    """Whether there are .npy files in a folder, as in CIFAR-10-C."""
    return any(folder.glob("*.npy"))


class PublishedCorruptions:
    """A folder of the files. BadInput where the labels are missing or are not those of the run's test split.

    labels (N,): the test split's, in its order. device: where images are served.
    """

    def __init__(self, folder: Path, labels: Tensor, device: torch.device) -> None:
        if not folder.is_dir():
            raise BadInput(f"{folder}: no such folder of published corruptions")
        self.folder = folder
        self.labels = labels.cpu()
        self.device = device
        self._check_labels()

    def check(self, corruptions: Sequence[str]) -> None:
        """BadInput where the file of a corruption is missing or of another shape or type; reads no image."""
        for corruption in dict.fromkeys(corruptions):
            self._load(corruption)

    def feed(self, corruption: str, severity: int, resolution: int) -> ResidentEval:
        """The images of one corruption at one severity, 1 to 5, resized to `resolution`."""
        rows = self._load(corruption)
        start = (severity - 1) * len(self.labels)
        block = np.ascontiguousarray(rows[start : start + len(self.labels)].transpose(0, 3, 1, 2))
        return ResidentEval(torch.from_numpy(block).to(self.device), self.labels, resolution)

    def _load(self, corruption: str) -> np.ndarray:
        rows = self._array(corruption)
        expected = (SEVERITIES * len(self.labels), *IMAGE)
        if rows.dtype != np.uint8:
            raise BadInput(f"{self._path(corruption)}: holds {rows.dtype} values, not uint8")
        if rows.shape != expected:
            raise BadInput(
                f"{self._path(corruption)}: has the shape {_shown(rows.shape)}, not {_shown(expected)} "
                f"({SEVERITIES} severities of the {len(self.labels)} test images)"
            )
        return rows

    def _check_labels(self) -> None:
        path = self._path("labels")
        found = self._array("labels")
        if found.ndim != 1 or found.dtype.kind not in "iu" or len(found) != SEVERITIES * len(self.labels):
            raise BadInput(
                f"{path}: has the shape {_shown(found.shape)} and type {found.dtype}, not "
                f"{SEVERITIES * len(self.labels)} whole numbers"
            )
        wrong = np.flatnonzero(found.astype(np.int64) != np.tile(self.labels.numpy(), SEVERITIES))
        if len(wrong):
            row = int(wrong[0])
            expected = int(self.labels[row % len(self.labels)])
            raise BadInput(
                f"{path}: row {row} has the label {found[row]}, the run's test split has {expected}; "
                f"the files follow the data set's own order of test images ({len(wrong)} rows differ)"
            )

    def _array(self, stem: str) -> np.ndarray:
        path = self._path(stem)
        if not path.is_file():
            stems = [other.stem for other in self.folder.glob("*.npy")]
            raise BadInput(f"{path}: no such file; {nearest(stem, stems)}")
        try:
            found = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise BadInput(f"{path}: is not a NumPy array file ({str(error).splitlines()[0]})") from None
        if not isinstance(found, np.ndarray):
            raise BadInput(f"{path}: is not a NumPy array file but an archive of several")
        return found

    def _path(self, stem: str) -> Path:
        return self.folder / f"{stem}.npy"


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape)
