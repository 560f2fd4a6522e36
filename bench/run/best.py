"""The weights of the best validation epoch, kept beside those of the last. Never chosen by test images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn

from bench.records import BEST_FILE, RecordWriter
from bench.run.finished import keep, plain_tensors
from bench.train.accuracy import Accuracy

SELECTED = "validation top1"


class BestWeights:
    """Keeps `best.safetensors` in an attempt's folder: of highest validation top-1, then lowest loss, then earliest.

    lines: what the attempt has recorded so far; its newest `file` line of that name says how the kept epoch scored.
    """

    def __init__(self, record: RecordWriter, folder: Path, lines: list[dict[str, Any]]) -> None:
        self._record, self._folder = record, folder
        held = [line for line in lines if line["kind"] == "file" and line.get("name") == BEST_FILE]
        self._score = (held[-1]["top1"], -held[-1]["nll"]) if held else None

    def offer(self, model: nn.Module, epoch: int, validation: Accuracy) -> None:
        """The weights after an epoch (from 1) and how they did; written only where they are better."""
        score = (validation["top1"], -validation["nll"])
        if not score[1] > float("-inf") or (self._score is not None and self._score >= score):
            return
        header = {"selected": f"{SELECTED}, epoch {epoch}"}  # one entry: safetensors writes several in any order
        content = save(plain_tensors(model), header)
        keep(
            self._record, self._folder, BEST_FILE, content,
            selected=SELECTED, epoch=epoch, top1=validation["top1"], nll=validation["nll"],
        )  # fmt: skip
        self._score = score
