"""The one place where models are made: from a BackboneSpec to a backbone with weights that the seed alone decides."""

from __future__ import annotations

import re
from typing import Any

import timm
import torch
from torch import nn

from bench.backbones import cifar_nets  # registers its models with timm
from bench.backbones.adapter import TimmBackbone
from bench.backbones.stages import main_stages
from bench.backbones.stem import use_small_stem
from bench.errors import BadInput, nearest
from bench.rng import INITIAL_WEIGHTS, stream
from bench.spec import BackboneSpec

__all__ = ["build_backbone", "cifar_nets"]

FIELDS = {"drop_path_rate": "drop_path", "drop_rate": "dropout"}
"""timm's keyword argument to the spec's field."""


def build_backbone(spec: BackboneSpec, num_classes: int, channels: int, resolution: int, seed: int) -> TimmBackbone:
    """A timm model, by any name that timm knows or `cifar_nets` registers, on the CPU in train mode.

    Models made for one image size (ViT, Swin) are made for `resolution`. The same arguments give the same initial
    weights bit for bit; global random states stay as they were. Raises BadInput for an unknown model, an option that
    it does not take, pretrained weights that cannot be had, and images that it cannot take.
    """
    if not timm.is_model(spec.name):
        raise BadInput(f"backbone.name: timm has no model '{spec.name}'; {nearest(spec.name, timm.list_models())}")
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(stream(seed, INITIAL_WEIGHTS).integer())
        model = _create(spec, num_classes, channels, resolution)
        if spec.small_stem:
            _check_small_stem(spec.name, model, use_small_stem(model))
        try:
            backbone = TimmBackbone(model, num_classes, channels, resolution)
        except Exception as error:
            shape = f"{channels}x{resolution}x{resolution}"
            raise BadInput(f"backbone.name: {spec.name} cannot take {shape} images: {_line(error)}") from error
    if spec.small_stem and (grid := backbone.grid(0)) != (resolution, resolution):
        raise BadInput(f"backbone.small_stem: the first stage of {spec.name} has {grid} positions, not {resolution}^2")
    return backbone


def _create(spec: BackboneSpec, num_classes: int, channels: int, resolution: int) -> nn.Module:
    arguments: dict[str, Any] = {"num_classes": num_classes, "in_chans": channels, **spec.options}
    # Also when they are zero: timm has models, Swin among them, whose own default is not.
    wished = {"img_size": resolution, "drop_path_rate": spec.drop_path, "drop_rate": spec.dropout}
    needed = {key for key in FIELDS if wished[key]}
    arguments = {**wished, **arguments}
    while True:
        try:
            model = timm.create_model(spec.name, **arguments)
            break
        except Exception as error:
            unknown = _unexpected(error)
            if unknown is None:
                raise BadInput(f"backbone.options: timm cannot build {spec.name}: {_line(error)}") from error
            if unknown in spec.options or unknown in needed or unknown not in wished:
                field = FIELDS.get(unknown, f"options.{unknown}")
                raise BadInput(f"backbone.{field}: {spec.name} takes no '{unknown}'") from error
            del wished[unknown], arguments[unknown]
    if not spec.pretrained:
        return model
    try:
        return timm.create_model(spec.name, pretrained=True, **arguments)
    except Exception as error:
        raise BadInput(f"backbone.pretrained: no weights for {spec.name}: {_line(error)}") from error


def _check_small_stem(name: str, model: nn.Module, replaced: bool) -> None:
    stages = main_stages(model)
    if replaced or (stages and stages[0].reduction == 1):
        return
    raise BadInput(
        f"backbone.small_stem: {name} has no stem of strided convolution and max-pool as timm's resnet and resnetv2 "
        "models have; leave small_stem out (ConvNeXt takes options.patch_size 1, ViT and Swin a smaller one, instead)"
    )


def _unexpected(error: Exception) -> str | None:
    if not isinstance(error, TypeError):
        return None
    found = re.search(r"unexpected keyword argument(?:\(s\): \[| )'(\w+)'", str(error))
    return found.group(1) if found else None


def _line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
