"""How much room a suite's results take, from finished runs' folders or by formula."""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.records import BEST_FILE, CHECKPOINT_FILE, METHOD_FILE, PREDICTIONS_FILE, WEIGHTS_FILE
from bench.records.line import encode
from bench.spec import Spec
from bench.sweep.data_facts import known_facts
from bench.sweep.todo import Todo

EPOCH_BYTES = 250
"""Bytes of an epoch line: 160 without, 330 with test and validation results in the published records."""
EVALUATOR_BYTES = 5000
"""Bytes of an evaluator's record: 4 800 is the mean of the published robustness study."""
PROVENANCE_BYTES = 700
OPTIMIZER_STATES = {"sgd": 1, "adamw": 2, "adam": 2, "lamb": 2}
"""Copies of the weights that an optimiser keeps; 2 for others."""


@dataclass(frozen=True)
class Disk:
    """Bytes. kept: by kind what stays of all runs. checkpoint: the largest state of one run, kept while it goes on.

    measured: runs whose size is that of finished runs of their cell; the others are by formula.
    """

    kept: dict[str, int]
    checkpoint: int
    measured: int
    runs: int


def disk_of(todo: Sequence[Todo], evaluators: int) -> Disk:
    """The room that a suite takes. evaluators: how many every run has. Builds each backbone once."""
    sizes: dict[str, list[dict[str, int]]] = defaultdict(list)
    for item in todo:
        if item.record is not None and item.record.status == "ok":
            found = _sizes(item.record.folder)
            if found["weights"]:
                sizes[item.spec.cell].append(found)
    weights: dict[tuple[str, int, int, int], int] = {}
    rows: dict[str, dict[str, int]] = {}
    kept: dict[str, int] = defaultdict(int)
    checkpoint = measured = 0
    for item in todo:
        spec, own = item.spec, sizes.get(item.spec.cell)
        net = _net(spec)
        if net not in weights:
            weights[net] = _weights(spec)
        measured += bool(own)
        if spec.arm not in rows:
            rows[spec.arm] = _medians(own) if own else _formula(spec, weights[net], evaluators)
        for kind, size in rows[spec.arm].items():
            kept[kind] += size
        checkpoint = max(checkpoint, _checkpoint(spec, weights[net]))
    return Disk(dict(kept), checkpoint, measured, len(todo))


def _net(spec: Spec) -> tuple[str, int, int, int]:
    """What decides how many weights there are."""
    data = spec.data
    return spec.backbone.hashed_text, known_facts(data).num_classes, data.channels, data.resolution


def _medians(found: list[dict[str, int]]) -> dict[str, int]:
    return {kind: round(statistics.median(each[kind] for each in found)) for kind in found[0]}


def _sizes(folder: Path) -> dict[str, int]:
    found = {"weights": 0, "predictions": 0, "records": 0}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in (WEIGHTS_FILE, METHOD_FILE, BEST_FILE):
                found["weights"] += entry.stat().st_size
            elif entry.name == PREDICTIONS_FILE:
                found["predictions"] += entry.stat().st_size
            elif entry.name != CHECKPOINT_FILE:
                found["records"] += entry.stat().st_size
    return found


def _formula(spec: Spec, weights: int, evaluators: int) -> dict[str, int]:
    """By kind the bytes of one run; a method's own weights are not counted."""
    facts = known_facts(spec.data)
    copies = 2 if "validation" in facts.sizes else 1  # the best validation epoch is kept too
    label = 1 if facts.num_classes <= 256 else 2
    begin = len(encode("begin", {"spec": spec.model_dump(mode="json")})) + PROVENANCE_BYTES
    lines = begin + EPOCH_BYTES * spec.effective_protocol.epochs + EVALUATOR_BYTES * evaluators
    return {"weights": copies * weights, "predictions": facts.sizes["test"] * (2 * label + 2), "records": lines}


def _checkpoint(spec: Spec, weights: int) -> int:
    protocol = spec.effective_protocol
    return weights * (1 + OPTIMIZER_STATES.get(protocol.optimizer, 2) + (1 if protocol.ema_decay else 0))


def _weights(spec: Spec) -> int:
    """Bytes of the backbone's state, by building it."""
    from bench.backbones.build import build_backbone

    data = spec.data
    untrained = spec.backbone.model_copy(update={"pretrained": False})
    backbone = build_backbone(untrained, known_facts(data).num_classes, data.channels, data.resolution, spec.seed)
    return sum(tensor.nbytes for tensor in backbone.model.state_dict().values())
