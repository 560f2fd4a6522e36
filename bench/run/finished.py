"""What a finished run leaves behind: its weights, those of its method, its predictions. Digests stand in the record."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from bench.backbones.adapter import TimmBackbone
from bench.backbones.build import build_backbone
from bench.data.open import Splits
from bench.records import (
    METHOD_FILE,
    PREDICTIONS_FILE,
    TRAIN_FILE,
    WEIGHTS_FILE,
    RecordWriter,
    StorageError,
    file_facts,
    recorded_files,
)
from bench.run.build import evaluation_method
from bench.spec import Spec
from bench.train.checkpoint import write_atomically
from methods.api import Method


def keep(record: RecordWriter, folder: Path, name: str, content: bytes, **fields: Any) -> None:
    """Write a file beside the record, whole or not at all, and a `file` line with its digest into the record."""
    write_atomically(folder / name, content)
    record.append("file", name=name, **file_facts(content), **fields)


def plain_tensors(module: torch.nn.Module) -> dict[str, Tensor]:
    """A module's state dict as tensors of their own on the CPU, as safetensors wants them."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}


def save_weights(record: RecordWriter, folder: Path, model: torch.nn.Module) -> None:
    """The ranked weights as a plain timm state dict in safetensors."""
    keep(record, folder, WEIGHTS_FILE, save(plain_tensors(model)))


def save_method(record: RecordWriter, folder: Path, method: Method) -> None:
    """The method's own parameters and buffers after the last step, where it has any: mixers, decoders, teachers."""
    if tensors := plain_tensors(method):
        keep(record, folder, METHOD_FILE, save(tensors))


def load_trained(spec: Spec, folder: Path, splits: Splits, device: torch.device) -> TimmBackbone:
    """The trained backbone of a finished run. StorageError when its weights are missing or damaged."""
    data = spec.data
    backbone = build_backbone(
        spec.backbone.model_copy(update={"pretrained": False}), splits.facts.num_classes, data.channels,
        data.resolution, spec.seed,
    )  # fmt: skip
    _load_into(backbone.model, folder, WEIGHTS_FILE)
    return backbone.to(device).eval()


def trained_method(spec: Spec, folder: Path, backbone: TimmBackbone, num_classes: int) -> Method | None:
    """The method of a finished run with the weights that it had learned, set up for its backbone.

    None where the network was trained elsewhere, or where the record is older than this file and the method has
    weights. StorageError when the weights that the record tells of are missing or damaged.
    """
    method = evaluation_method(spec, backbone, num_classes)
    if method is None or not method.state_dict():
        return method
    if METHOD_FILE not in recorded_files(folder / TRAIN_FILE):
        return None
    _load_into(method, folder, METHOD_FILE)
    return method.to(next(backbone.parameters()).device)


def read_kept(folder: Path, name: str) -> bytes:
    """A file beside a record. StorageError when it is missing, or is not what the record says that was written."""
    path = folder / name
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise StorageError(f"{path}: is missing, so this run cannot be evaluated; train it again") from None
    except OSError as error:
        raise StorageError(f"{path}: cannot be loaded ({error.strerror or error})") from None
    recorded = recorded_files(folder / TRAIN_FILE).get(name)
    if recorded is not None and file_facts(content)["blake2b"] != recorded:
        raise StorageError(f"{path}: is damaged (its digest is not the record's); train this run again")
    return content


def save_predictions(
    record: RecordWriter, folder: Path, top1: np.ndarray, labels: np.ndarray, logits: np.ndarray
) -> None:
    """Per test image: predicted class (1 or 2 bytes), label, and the probability given to the label (float16)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    probability = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    own = probability[np.arange(len(labels)), labels].astype(np.float16)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, top1=top1, labels=labels.astype(top1.dtype), probability=own)
    keep(record, folder, PREDICTIONS_FILE, buffer.getvalue())


def _load_into(module: torch.nn.Module, folder: Path, name: str) -> None:
    content = read_kept(folder, name)
    try:
        module.load_state_dict(load(content))
    except (SafetensorError, RuntimeError) as error:
        raise StorageError(f"{folder / name}: cannot be loaded ({str(error).splitlines()[0]})") from None
