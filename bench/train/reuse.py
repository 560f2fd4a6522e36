"""One compiled step that is kept from run to run: a run of another seed gets it with fresh weights."""

from __future__ import annotations

from collections.abc import Callable

import torch

from bench.train.fresh_state import pour
from bench.train.step import TrainStep, compiled_step
from methods.api import Loss


class StepCache:
    """Holds at most one compiled step, so that the memory of one network is all that outlives a run."""

    def __init__(self) -> None:
        self._key: str | None = None
        self._kept: tuple[TrainStep, Callable[..., Loss]] | None = None

    def ready(self, key: str, fresh: TrainStep, mode: str) -> tuple[TrainStep, Callable[..., Loss]]:
        """The module to train and what to call: the kept one of this key in the state of `fresh`, else `fresh` itself,
        newly compiled and kept from now on. Steps that are not compiled are not kept."""
        if mode == "none":
            return fresh, fresh
        if self._kept is not None and self._key == key:
            used = self._kept[0]
            same_backbone = pour(fresh.backbone, used.backbone, known_only=False)
            if same_backbone and pour(fresh.method, used.method, known_only=True):
                return self._kept
        self._kept = None
        torch.compiler.reset()  # graphs of earlier steps hold memory and count against dynamo's limit
        self._key, self._kept = key, (fresh, compiled_step(fresh, mode))
        return self._kept
