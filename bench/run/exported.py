"""A finished run's weights as one file for other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import timm
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from bench.backbones.build import build_backbone
from bench.errors import BadInput
from bench.records import BEST_FILE, WEIGHTS_FILE, RunRecord, StorageError
from bench.run.best import SELECTED
from bench.run.finished import read_kept
from bench.spec import Spec
from bench.train.checkpoint import write_atomically

HEADER = "mixbench"
"""Name of the one entry of the safetensors header; its text is JSON."""


def export_weights(record: RunRecord, spec: Spec, file: Path, best: bool) -> dict[str, Any]:
    """Write the last epoch's weights, or those of the best validation epoch, as a plain timm state dict.

    The header tells run, backbone, data, normalisation and digest, and with which arguments `timm.create_model` makes
    a network that takes the weights (null where none does, as with a small stem); it is returned too.
    BadInput, one line, where the run has not ended ok, or its weights are missing or damaged.
    """
    if record.status != "ok":
        raise BadInput(f"run {record.run_id}: is {record.status}, so there is nothing to export")
    name = BEST_FILE if best else WEIGHTS_FILE
    if best and BEST_FILE not in record.files:
        raise BadInput(f"run {record.run_id}: kept no best epoch, since its data have no validation images")
    try:
        tensors = load(read_kept(record.folder, name))
    except StorageError as error:
        raise BadInput(f"run {record.run_id}: {error}") from None
    except SafetensorError as error:
        raise BadInput(f"run {record.run_id}: {record.folder / name} cannot be read ({error})") from None
    header = {
        **_about(spec),
        "arguments": _timm_arguments(spec, tensors),
        "blake2b": record.files.get(name),
        "weights": SELECTED if best else "last epoch",
    }
    write_atomically(file, save(tensors, {HEADER: json.dumps(header, sort_keys=True)}))
    return header


def _about(spec: Spec) -> dict[str, Any]:
    """What another program has to know to use the weights."""
    data, backbone, labels = spec.data, spec.backbone, spec.labels
    protocol = spec.effective_protocol
    return {
        "run_id": spec.run_id,
        "seed": spec.seed,
        "method": labels.method,
        "backbone": backbone.name,
        "small_stem": backbone.small_stem,
        "channels": data.channels,
        "resolution": data.resolution,
        "data": labels.data,
        "data_digest": data.digest,
        "mean": list(data.mean),
        "std": list(data.std),
        "averaged": protocol.rank_weights == "ema",
    }


def _timm_arguments(spec: Spec, tensors: dict[str, Tensor]) -> dict[str, Any] | None:
    """Arguments of `timm.create_model`, tried out: the weights go into what it makes. None where they never do."""
    given = spec.backbone
    untrained = given.model_copy(update={"pretrained": False})
    one_class = build_backbone(untrained, 1, spec.data.channels, spec.data.resolution, 0).model.state_dict()
    heads = [
        len(value) for name, value in tensors.items() if name in one_class and value.shape != one_class[name].shape
    ]
    wanted = {"num_classes": heads[0] if heads else 1, "in_chans": spec.data.channels, **given.options}
    for arguments in ({"img_size": spec.data.resolution, **wanted}, wanted):
        try:
            timm.create_model(given.name, **arguments).load_state_dict(tensors)
        except (TypeError, RuntimeError):
            continue
        return arguments
    return None
