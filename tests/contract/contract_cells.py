"""The contract suite's cells: every implementation and every arm on four small backbones of different kinds.

Nothing here knows a method by name: implementations come from a scan of methods/, variants from configs/method/.
"""

from __future__ import annotations

import copy
import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import timm
import torch
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from bench.backbones.adapter import TimmBackbone
from bench.backbones.build import build_backbone
from bench.backbones.cifar_nets import CifarNet
from bench.config.catalogue import method_facts, method_names
from bench.config.folders import ConfigFolders
from bench.config.sections import resolve_method
from bench.spec import BackboneSpec
from methods.api import Batch, BatchShape, Draws, Loss, Method, Task, guided
from methods.ops.keys import Key

CLASSES = 5
RESOLUTION = 64
BACKBONES: dict[str, dict[str, Any]] = {
    "test_resnet": {},
    "test_convnext2": {},
    "test_vit": {"depth": 2},
    "contract_swin": {},
}


def contract_swin(pretrained: bool = False, **options: Any) -> SwinTransformer:
    """A Swin of test size, which timm has not: two stages, three blocks, maps (B, H, W, C)."""
    own = {key: value for key, value in options.items() if not key.startswith("pretrained") and key != "cache_dir"}
    sizes = {"patch_size": 4, "window_size": 4, "embed_dim": 16, "depths": (1, 2), "num_heads": (1, 2)}
    return SwinTransformer(**{**sizes, **own})


def contract_preact(pretrained: bool = False, num_classes: int = 5, in_chans: int = 3, **_timm: Any) -> CifarNet:
    """A pre-activation net of two blocks, for what takes long to compile."""
    return CifarNet((16, 16, 32), blocks=1, final_norm=True, num_classes=num_classes, in_chans=in_chans)


for entrypoint in (contract_swin, contract_preact):
    if not timm.is_model(entrypoint.__name__):
        timm.models.register_model(entrypoint)


def arms() -> list[str]:
    """All arms, and the implementations that have no arm of their own name."""
    return sorted({*ConfigFolders().names("method"), *method_names()})


@functools.lru_cache(maxsize=1)
def reasons() -> dict[tuple[str, str], str | None]:
    """For each arm on each backbone the method's reason not to run there, or None where it runs."""
    return {(arm, name): make_method(arm).skip(make_backbone(name), TASK) for arm in arms() for name in BACKBONES}


def running_cells(names: list[str] | None = None) -> list[tuple[str, str]]:
    """Arm and backbone of all cells that run: an implementation's main arm on every backbone, each of its other arms
    on the first that it runs on. Only those of the named arms where names are given."""
    running = [cell for cell, reason in reasons().items() if reason is None and (names is None or cell[0] in names)]
    first = dict(reversed(running))
    return [(arm, name) for arm, name in running if arm in method_names() or first[arm] == name]


def make_method(arm: str) -> Method:
    """A fresh method of an arm, before its setup."""
    spec = resolve_method(arm, "contract suite", ConfigFolders(), []).spec
    facts = method_facts(spec.implementation)
    return getattr(importlib.import_module(facts.module), facts.class_name)(**spec.parameters)


def make_backbone(name: str, **options: Any) -> TimmBackbone:
    """A fresh backbone, always with the same weights, in train mode."""
    return copy.deepcopy(_built(name, tuple(options.items())))


@functools.cache
def _built(name: str, options: tuple[tuple[str, Any], ...]) -> TimmBackbone:
    spec = BackboneSpec(name=name, options={**BACKBONES.get(name, {}), **dict(options)})
    return build_backbone(spec, CLASSES, 3, RESOLUTION, seed=0)


def normalise(images: Tensor) -> Tensor:
    """The data's normalisation: [0, 255] to mean 0.5 and standard deviation 0.25."""
    return (images.float() / 255 - 0.5) / 0.25


def criterion(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of each image."""
    return functional.cross_entropy(logits, labels, reduction="none")


TASK = Task(CLASSES, criterion, (3, RESOLUTION, RESOLUTION))


@dataclass(frozen=True)
class Cell:
    """One method on one backbone with a batch of its own, set up and in train mode."""

    arm: str
    method: Method
    backbone: TimmBackbone
    images: Tensor
    labels: Tensor

    def batch(self, draws: Draws) -> Batch:
        """The batch as the trainer would make it."""
        with torch.no_grad():
            return Batch(self.method.views(self.images, normalise, draws), self.labels)

    def loss(self, draws: Draws) -> Loss:
        """The loss of a step with these draws."""
        batch = self.batch(draws)
        return self.method.loss(self.backbone, batch, guided(self.method, self.backbone, batch, draws))

    def draw(self, *path: int | str) -> Draws:
        """The draws of a key."""
        return self.method.draw(Key("contract", *path), shape_of(self.images))

    def draws_of_all_branches(self) -> dict[str, Draws]:
        """One draw for each branch that 64 keys show."""
        found: dict[str, Draws] = {}
        for number in range(64):
            draws = self.draw(number)
            found.setdefault(draws.branch, draws)
        return found

    def again(self) -> Cell:
        """The same cell with copies of backbone, method and batch."""
        method, backbone, images, labels = copy.deepcopy((self.method, self.backbone, self.images, self.labels))
        return replace(self, method=method, backbone=backbone, images=images, labels=labels)


def shape_of(images: Tensor, progress: float = 0.25) -> BatchShape:
    """The shape that a draw may depend on."""
    return BatchShape(len(images), *images.shape[1:], progress)


def make_images(size: int, height: int = RESOLUTION, width: int = RESOLUTION) -> Tensor:
    """Smooth uint8 images (size, 3, height, width), all different, with some of every brightness."""
    draws = torch.Generator().manual_seed(Key("contract images").integer())
    coarse = torch.rand(size, 3, 6, 6, generator=draws)
    return (functional.interpolate(coarse, (height, width), mode="bilinear") * 255).round().to(torch.uint8)


def make_cell(arm: str, backbone: str, size: int = 4, **options: Any) -> Cell:
    """A fresh cell, always the same. options: further options of the backbone."""
    method, net, images = make_method(arm), make_backbone(backbone, **options), make_images(size)
    labels = torch.arange(size) % CLASSES
    method.setup(net, TASK)
    return Cell(arm, method.train(), net, images, labels)


def tensors_of(value: Any) -> list[Tensor]:
    """All tensors in nested tuples and mappings, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [tensor for name in sorted(value) for tensor in tensors_of(value[name])]
    return [tensor for item in value for tensor in tensors_of(item)]


def same_bits(left: Any, right: Any) -> bool:
    """Whether all tensors agree bit for bit, in shape and dtype too."""
    pairs = list(zip(tensors_of(left), tensors_of(right), strict=True))
    return all(one.dtype == other.dtype and torch.equal(one, other) for one, other in pairs)


class NoHostSync(TorchDispatchMode):
    """Inside it, an operation that waits for a GPU's answer is an AssertionError, on the CPU too."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique", "lift_fresh")
    """The last is `torch.tensor`: values of the host that a GPU waits for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masks = (
            [index for index in args[1] if index is not None] if name in ("index", "index_put", "index_put_") else []
        )
        waits = name.startswith(self.WAITING) or any(mask.dtype == torch.bool for mask in masks)
        assert not waits, f"{name} waits for the device"
        return func(*args, **(kwargs or {}))


def gradients(*modules: nn.Module) -> dict[str, Tensor | None]:
    """Gradients by parameter name, of several modules."""
    return {
        f"{number}.{name}": parameter.grad
        for number, module in enumerate(modules)
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }
