"""Make a finished run out of a checkpoint file that was trained elsewhere."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from timm.models import load_state_dict
from torch import Tensor, nn

from bench.backbones.build import build_backbone
from bench.env import provenance
from bench.errors import BadInput
from bench.records import SCHEMA, TRAIN_FILE, RecordWriter
from bench.run.finished import save_weights
from bench.spec import Spec


def import_checkpoint(file: Path, spec: Spec, num_classes: int, folder: Path, source_digest: str) -> None:
    """Write the weights and the record of a run that needs no training into an attempt's folder.

    file: a state dict, or a dict that holds one as "state_dict_ema", "state_dict", "model_ema" or "model", saved by
    torch.save or as safetensors; prefixes of DataParallel and torch.compile are taken off. Nothing in it is executed.
    BadInput where it cannot be read or does not fit the backbone.
    """
    data = spec.data
    backbone = build_backbone(spec.backbone, num_classes, data.channels, data.resolution, spec.seed)
    fill_with(backbone.model, file, spec.backbone.name, num_classes)
    with RecordWriter(folder / TRAIN_FILE) as record:
        record.append(
            "begin", schema=SCHEMA, run_id=spec.run_id, spec=spec.model_dump(mode="json"),
            labels=spec.labels.model_dump(), provenance={**provenance("cpu"), "checkpoint": file.name},
            source_digest=source_digest, planned=[spec.seed], epoch=0, time=time.time(),
        )  # fmt: skip
        save_weights(record, folder, backbone.model)
        record.append("end", status="ok", reason=None, seconds=None)


def fill_with(model: nn.Module, file: Path, name: str, num_classes: int) -> None:
    """Load a checkpoint into a timm model; BadInput says in one line what does not fit. name: the backbone's."""
    state = read_state(file)
    wanted = model.state_dict()
    problems = [
        f"{len(keys)} {what} (first {keys[0]})"
        for what, keys in (
            ("weights missing", [key for key in wanted if key not in state]),
            ("weights too many", [key for key in state if key not in wanted]),
        )
        if keys
    ]
    for key, value in wanted.items():
        if key in state and state[key].shape != value.shape:
            problems.append(f"{key} is {_shape(state[key])}, the backbone's is {_shape(value)}")
            break
    if problems:
        raise BadInput(f"{file}: does not fit {name} with {num_classes} classes: {'; '.join(problems)}")
    model.load_state_dict(state)


def read_state(file: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name; of several sets the moving average. BadInput where there are none."""
    if not file.is_file():
        raise BadInput(f"{file}: no such checkpoint file")
    try:
        state: Any = load_state_dict(str(file), use_ema=True, device="cpu", weights_only=True)
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadInput(f"{file}: cannot be read as a checkpoint of tensors ({first[:160]})") from None
    if not isinstance(state, dict) or not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise BadInput(f"{file}: holds no state dict of tensors")
    return {str(key).removeprefix("_orig_mod."): value for key, value in state.items()}


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"
