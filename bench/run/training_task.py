"""The training part of a task, the same in a worker and in each process of a run that several share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench.data.open import Splits
from bench.run.build import build_method, splits_for
from bench.run.execute import Report, train_run
from bench.run.memory_share import limit_memory
from bench.spec import Spec
from bench.train.ranks import Ranks
from bench.train.reuse import StepCache


def prepared_splits(task: dict[str, Any], spec: Spec, device: torch.device) -> Splits:
    """The data on a device, after the process's limits are set. A trial of a tuning sees validation images only."""
    limit_memory(device)
    torch.set_num_threads(task["threads"])
    splits = splits_for(spec.data.model_dump_json(), str(device))
    if task.get("trial"):
        kept = {name: feed for name, feed in splits.evaluation.items() if name == "validation"}
        splits = replace(splits, evaluation=kept)
    return splits


def train_task(
    task: dict[str, Any], device: torch.device, report: Report, stopping: Callable[[], bool],
    steps: StepCache | None = None, ranks: Ranks | None = None,
) -> str:  # fmt: skip
    """Train a task's spec in its folder and return the status, see `bench.run.execute.train_run`."""
    spec = Spec.model_validate(task["spec"], strict=False)
    return train_run(
        spec, build_method(spec.method), prepared_splits(task, spec, device), Path(task["folder"]), device,
        task["source_digest"], task["planned"], task["checkpoint_seconds"], report, stopping, steps, ranks,
    )  # fmt: skip
