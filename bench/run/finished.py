"""What a finished run leaves behind: its weights and its predictions."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from bench.backbones.adapter import TimmBackbone
from bench.backbones.build import build_backbone
from bench.data.open import Splits
from bench.records import StorageError
from bench.spec import Spec
from bench.train.checkpoint import write_atomically

WEIGHTS = "weights.safetensors"
PREDICTIONS = "predictions.npz"


def save_weights(folder: Path, model: torch.nn.Module) -> None:
    """The ranked weights as a plain timm state dict in safetensors."""
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    write_atomically(folder / WEIGHTS, save(tensors))


def load_trained(spec: Spec, folder: Path, splits: Splits, device: torch.device) -> TimmBackbone:
    """The trained backbone of a finished run. StorageError when its weights are missing or damaged."""
    data = spec.data
    backbone = build_backbone(
        spec.backbone.model_copy(update={"pretrained": False}), splits.facts.num_classes, data.channels,
        data.resolution, spec.seed,
    )  # fmt: skip
    path = folder / WEIGHTS
    try:
        backbone.model.load_state_dict(load(path.read_bytes()))
    except FileNotFoundError:
        raise StorageError(f"{path}: is missing, so this run cannot be evaluated; train it again") from None
    except (SafetensorError, RuntimeError, OSError) as error:
        raise StorageError(f"{path}: cannot be loaded ({str(error).splitlines()[0]})") from None
    return backbone.to(device).eval()


def save_predictions(folder: Path, top1: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> None:
    """Per test image: predicted class (1 or 2 bytes), label, and the probability given to the label (float16)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    probability = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    own = probability[np.arange(len(labels)), labels].astype(np.float16)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, top1=top1, labels=labels.astype(top1.dtype), probability=own)
    write_atomically(folder / PREDICTIONS, buffer.getvalue())
