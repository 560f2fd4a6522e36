"""A listener that writes TensorBoard event files; needs the extra `tensorboard`, but neither torch nor TensorFlow."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from bench.errors import BadInput

SPLITS = ("test", "validation")


class TensorBoard:
    """Writes each run below `folder`, as DATA/BACKBONE/PROTOCOL/METHOD-seedN-ID. A listener.

    Scalars by epoch: train/loss, train/learning_rate, train/seconds, train/<part of the loss>, and for each split top1
    and nll. Evaluators' metrics stand at the last epoch of the protocol, as eval/<evaluator>/<name>/<detail>. Numbers
    that were not finite are left out. BadInput where the extra is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            writer = importlib.import_module("tensorboard.summary").Writer
        except ImportError as error:
            raise BadInput("--tensorboard needs an extra: pip install 'mixbench[tensorboard]'") from error
        self._make: Any = writer
        self._folder = folder
        self._writers: dict[str, tuple[Any, int]] = {}

    def __call__(self, event: dict[str, Any]) -> None:
        """Take one event."""
        kind = event["event"]
        if kind == "sweep_ended":
            for run_id in list(self._writers):
                self._close(run_id)
        elif kind == "run_started":
            self._close(event["run_id"])
            writer = self._make(str(self._folder / run_name(event)))
            self._writers[event["run_id"]] = (writer, event["spec"]["protocol"]["epochs"])
        elif kind == "run_ended":
            self._close(event["run_id"])
        elif event["run_id"] in self._writers:
            writer, last = self._writers[event["run_id"]]
            for tag, value in scalars(event):
                step = event["epoch"] if kind == "epoch" else last
                writer.add_scalar(tag, float(value), step, wall_time=event["time"])
            writer.flush()

    def _close(self, run_id: str) -> None:
        if run_id in self._writers:
            self._writers.pop(run_id)[0].close()


def run_name(event: dict[str, Any]) -> str:
    """A run's folder, told apart from others by the start of its id."""
    labels = event["labels"]
    names = [labels[key].replace("/", "_") for key in ("data", "backbone", "protocol", "method")]
    return "/".join(names) + f"-seed{event['seed']}-{event['run_id'][:6]}"


def scalars(event: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Tag and number of everything in an epoch's or a metric's event that is a number."""
    found: dict[str, Any] = {}
    if event["event"] == "metric":
        detail = [f"{key}-{value}" for key, value in sorted(_mapping(event, "detail").items())]
        found["/".join(["eval", event["evaluator"], event["name"], *detail])] = event["value"]
    else:
        named = {"loss": event.get("train_loss"), "learning_rate": event.get("learning_rate")}
        named |= {"seconds": event.get("seconds"), **_mapping(event, "parts")}
        found |= {f"train/{name}": value for name, value in named.items()}
        found |= {f"{split}/{key}": _mapping(event, split).get(key) for split in SPLITS for key in ("top1", "nll")}
    for tag, value in found.items():
        if isinstance(value, int | float):
            yield tag, value


def _mapping(event: dict[str, Any], key: str) -> dict[str, Any]:
    return cast("dict[str, Any]", event.get(key) or {})
