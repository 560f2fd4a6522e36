"""From names in a spec to objects: the device, the data, the method."""

from __future__ import annotations

import functools
import importlib

import torch

from bench.backbones.adapter import TimmBackbone
from bench.config.catalogue import method_facts
from bench.data.open import Splits, open_data
from bench.errors import BadInput
from bench.spec import DataSpec, MethodSpec, Spec
from bench.train.criterion import build_criterion
from methods.api import Method, Task


def build_method(spec: MethodSpec) -> Method:
    """The method with its parameters. BadInput with the method's own words when it refuses a combination."""
    facts = method_facts(spec.implementation)
    try:
        return getattr(importlib.import_module(facts.module), facts.class_name)(**spec.parameters)
    except ValueError as error:
        raise BadInput(f"method '{spec.implementation}': {error}") from None


def evaluation_method(spec: Spec, backbone: TimmBackbone, num_classes: int) -> Method | None:
    """The method of a finished run, set up for its backbone; None where the network was trained elsewhere."""
    if spec.protocol.trained_elsewhere:
        return None
    data = spec.data
    method = build_method(spec.method)
    criterion = build_criterion(spec.effective_protocol, num_classes)
    method.setup(backbone, Task(num_classes, criterion, (data.channels, data.resolution, data.resolution)))
    return method.to(next(backbone.parameters()).device)


def pick_device(asked: str) -> torch.device:
    """The device called "auto" (CUDA, else the CPU), "cpu", "cuda" or "cuda:N". BadInput where it is not there."""
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
    except RuntimeError:
        raise BadInput(f"--device {asked}: is not a device; use auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BadInput(f"--device {asked}: torch finds no CUDA device here; use --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BadInput(f"--device {asked}: there are {torch.cuda.device_count()} CUDA devices, counted from 0")
    return device


@functools.lru_cache(maxsize=2)
def splits_for(data_json: str, device: str) -> Splits:
    """Open a data set once for all runs of a worker that share it. data_json: DataSpec as JSON."""
    return open_data(DataSpec.model_validate_json(data_json), torch.device(device))
