"""What an evaluator is given, what it gives back, and how an interrupted evaluation continues."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from bench.errors import BadInput
from bench.spec import canonical_json
from methods.api import Method

Transform = Callable[[Tensor, Tensor], Tensor]
"""(native uint8 images (B, C, H, W), positions in the split (B,)) to uint8 images of the same shape."""

Done = Mapping[str, float | None]
"""Metrics recorded earlier: key to value, so that means over all of them can still be formed."""


class Metric(NamedTuple):
    """One number. Shares are in [0, 1]. `detail` holds what tells it from others of the same name and nothing else."""

    name: str
    value: float | None
    detail: dict[str, Any]

    @property
    def key(self) -> str:
        """Name and detail as one string; equal keys are the same measurement."""
        return metric_key(self.name, self.detail)


def metric_key(name: str, detail: Mapping[str, Any]) -> str:
    """The key of a metric before its value is known, such as `corruption_top1 {"corruption":"fog","severity":3}`."""
    return f"{name} {canonical_json(dict(detail))}"


def distinct(setting: str, values: Sequence[Any]) -> None:
    """BadInput where a list setting is empty or names something twice."""
    if not values or len(set(values)) != len(values):
        raise BadInput(f"{setting} needs one or more different values, not {list(values)}")


class EvalFeed(Protocol):
    """One split in a fixed order (bench.data implements it)."""

    size: int
    labels: Tensor
    """(N,) int64, in the order of the batches."""
    native: tuple[int, int, int] | None
    """(C, H, W) of the stored images before they are resized; None where they differ."""

    def batches(self, batch_size: int, transform: Transform | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """uint8 images (B, C, R, R) and labels (B,) int64 on the device, the last batch maybe smaller."""
        ...


@dataclass(frozen=True)
class Context:
    """All an evaluator may look at."""

    backbone: nn.Module
    """Normalised float32 images (B, C, R, R) to logits (B, K)."""
    normalise: Callable[[Tensor], Tensor]
    """uint8 or float images in [0, 255] to normalised float32; affine in each channel."""
    splits: Mapping[str, Any]
    """"test" always; "validation" where one was held out; an EvalFeed each."""
    num_classes: int
    device: torch.device
    seed: int
    """The run's seed. Corruptions take their own, so that every run meets the same corrupted images."""
    class_names: Sequence[str] = ()
    others: Mapping[str, nn.Module] = field(default_factory=dict)
    """Trained networks of other runs of the same cell, by what an evaluator's `needs` calls them; absent ones are not
    there."""
    method: Method | None = None
    """The method of the run, set up for this backbone; None where the network was trained elsewhere."""

    def split(self, name: str) -> EvalFeed:
        """A split by name; BadInput where this run has none of that name."""
        if name not in self.splits:
            raise BadInput(f"there is no {name} split to evaluate on; this run has: {', '.join(sorted(self.splits))}")
        return self.splits[name]


class Evaluator(ABC):
    """Base class. Settings are keyword arguments of the constructor, typed, with ranges and defaults."""

    name: ClassVar[str] = ""
    """The file's stem."""
    version: ClassVar[str] = "1"
    """Raised whenever the same settings would give other numbers."""
    title: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()
    """Method labels, such as "erm": of each the finished run of the cell with the lowest other seed is put into
    `Context.others`, where there is one."""

    @abstractmethod
    def evaluate(self, context: Context, done: Done) -> Iterator[Metric]:
        """Yield each metric as soon as it is known and leave out those whose key is in `done`."""

    @abstractmethod
    def plan(self, context: Context) -> list[str]:
        """Keys of all metrics that `evaluate` would yield with nothing done, in order; for progress bars."""
