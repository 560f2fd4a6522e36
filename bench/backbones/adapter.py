"""The adapter through which methods see any timm model; it fulfils `methods.api.Backbone`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from bench.backbones.attention import ClassAttention, attention_refusal
from bench.backbones.cut_test import cut_tests, trial_images
from bench.backbones.frozen_statistics import FrozenStatistics
from bench.backbones.layout import Layout, find_layout
from bench.backbones.slot import Slot, Taken, Taking, install
from bench.backbones.stages import StageInfo, StageRefused, main_stages
from bench.backbones.survey import Survey, survey
from methods.api import Edit, FeatureMap


class PassCount:
    """images: how many images went through the model, each pass of each image counted once."""

    def __init__(self) -> None:
        self.images = 0


class TimmBackbone(nn.Module):
    """A timm classification model whose features can be edited at its main stages.

    model: what timm built, with `num_classes` logits, for images (channels, resolution, resolution); it is `.model`
    here. `stages` are module names, shallow to deep, see `bench.backbones.stages.main_stages`. Edits reach the model
    through slots that are part of its modules, so deep copies are independent, and compiled and DDP-wrapped calls see
    them; outside the call they are always empty. Edits are applied in eval mode too, but only when a call asks for it.

    Limits: tokens (ViT) keep the grid of `resolution`. Stages whose module gives several tensors, is called more
    than once or is no module of its own are refused with StageRefused. `head` needs a model that runs plain modules
    between its last stage and its `forward_head`; `head_refusal` says why another one cannot. Gradient checkpointing
    runs a stage again in the backward pass, without the edit: do not turn it on. Raises ValueError for a model that
    does not give logits, and whatever the model raises for images of this shape.
    """

    model: Any

    def __init__(self, model: nn.Module, num_classes: int, channels: int, resolution: int) -> None:
        super().__init__()
        self.model = model
        self.num_classes = num_classes
        self.input_shape = (channels, resolution, resolution)
        self._infos = main_stages(model)
        self.stages = tuple(info.name for info in self._infos)
        self._refusals: dict[int, str] = {}
        self._tested = False
        self._count: PassCount | None = None
        seen = self._look()
        if not isinstance(seen.logits, Tensor) or seen.logits.shape != (1, num_classes):
            raise ValueError(f"it gives {_described(seen.logits)} where (1, {num_classes}) logits were expected")
        self._slots = tuple(self._install(index, info, seen) for index, info in enumerate(self._infos))
        self._later = tuple(seen.later.get(name, ()) for name in self.stages)
        self._tail = () if isinstance(seen.tail, str) else seen.tail
        self.head_refusal = seen.tail if isinstance(seen.tail, str) else self._refusals.get(len(self.stages) - 1)
        self.attention_refusal = attention_refusal(model)
        self._attention = None if self.attention_refusal else ClassAttention(model)
        self._protect = bool(self._tail) and bool(getattr(self._tail[0], "inplace", False))

    def forward(self, images: Tensor, edit: Mapping[int, Edit] | None = None) -> Tensor:
        """Logits (B, K) of normalised images (B, C, H, W). See `methods.api.Backbone`.

        Raises StageRefused for a stage that cannot be edited, ValueError for one that does not exist.
        """
        edits: dict[int, Edit] = {}
        if edit is not None:
            for stage, function in edit.items():
                edits[self._usable(stage)] = function
        return self._run(images, edits)

    def features(self, images: Tensor, stage: int = -1) -> FeatureMap:
        """The feature map after a stage; the pass ends there, and later layers (and their statistics) see nothing."""
        index = self._usable(stage)
        compiling = torch.compiler.is_compiling()
        taking = Taking(ends=not compiling)
        if compiling:  # torch 2.6 cannot trace the exception; what follows the stage is dead code there
            with FrozenStatistics(self._later[index]):
                self._run(images, {index: taking})
        else:
            with suppress(Taken):
                self._run(images, {index: taking})
        if taking.features is None:
            raise StageRefused(f"stage {stage} was not reached")
        return taking.features

    def head(self, features: FeatureMap) -> Tensor:
        """Logits (B, K) from the last stage's feature map: its final norm, pooling and classifier.

        `head(features(x))` is `backbone(x)`. Raises StageRefused where `head_refusal` is set.
        """
        if self.head_refusal is not None:
            raise StageRefused(f"no head from features: {self.head_refusal}")
        output = self._slots[-1].layout.pack(features)
        if self._protect:
            output = output.clone()
        for module in self._tail:
            output = module(output)
        return self.model.forward_head(output)

    def attention(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, K) and, of the same pass, the class token's attention (B, heads, positions) in the last block.

        See `methods.api.Backbone`. Raises ValueError where `attention_refusal` is set.
        """
        if self._attention is None:
            raise ValueError(f"no attention: {self.attention_refusal}")
        slot = self._attention.slot
        kept: list[Tensor] = []
        slot.kept = kept
        try:
            logits = self._run(images, {})
        finally:
            slot.kept = None
        return logits, self._attention.weights(kept[0])

    def width(self, stage: int = -1) -> int:
        """Channels after a stage."""
        return self._infos[self._index(stage)].channels

    def reduction(self, stage: int = -1) -> int:
        """Input pixels per feature position and side after a stage."""
        return self._infos[self._index(stage)].reduction

    def grid(self, stage: int = -1) -> tuple[int, int]:
        """Height and width of a stage's feature map at the resolution that the backbone was built for."""
        layout = self._slots[self._usable(stage)].layout
        return layout.height, layout.width

    def probe(self) -> FrozenStatistics:
        """Context for extra passes: BatchNorm normalises as ever, but its running statistics stay."""
        return FrozenStatistics(self.modules())

    @contextmanager
    def count_passes(self) -> Iterator[PassCount]:
        """Count the images that go through the model inside the context, by `backbone(...)` and `features(...)`.

        Eager calls only: a compiled call is not seen.
        """
        before, count = self._count, PassCount()
        self._count = count
        try:
            yield count
        finally:
            self._count = before

    def mixable(self, stage: int) -> str | None:
        """Why mixing at a stage would not be what it seems (see `cut_test`), or None.

        The first call tests all stages; the answers are remembered. A stage that fails is refused from then on: an
        edit there raises StageRefused.
        """
        index = self._index(stage)
        untested = [each for each in range(len(self.stages)) if each not in self._refusals]
        if untested and not self._tested:
            weight = next(self.parameters())
            images = trial_images(self.input_shape).to(weight.device, weight.dtype)
            reasons = cut_tests(self, untested, images)
            self._refusals.update({each: reason for each, reason in reasons.items() if reason is not None})
        self._tested = True
        return self._refusals.get(index)

    def _run(self, images: Tensor, edits: dict[int, Edit]) -> Tensor:
        if self._count is not None and not torch.compiler.is_compiling():
            self._count.images += len(images)
        before = [slot.edit for slot in self._slots]
        for index, slot in enumerate(self._slots):
            slot.edit = edits.get(index)
        try:
            return self.model(images)
        finally:
            for slot, edit in zip(self._slots, before, strict=True):
                slot.edit = edit

    def _index(self, stage: int) -> int:
        count = len(self.stages)
        if not -count <= stage < count:
            raise ValueError(f"there is no stage {stage}: this backbone has {count} ({', '.join(self.stages)})")
        return stage % count

    def _usable(self, stage: int) -> int:
        index = self._index(stage)
        if index in self._refusals:
            raise StageRefused(f"stage {index} ({self.stages[index]}) is refused: {self._refusals[index]}")
        return index

    def _look(self) -> Survey:
        names = []
        for index, info in enumerate(self._infos):
            if not info.name or info.name not in dict(self.model.named_modules()):
                self._refusals[index] = f"'{info.name}' is not a module of the model"
            elif info.name in names:
                self._refusals[index] = f"it shares the module '{info.name}' with another stage"
            else:
                names.append(info.name)
        weight = next(self.model.parameters())
        return survey(self.model, torch.zeros(1, *self.input_shape, device=weight.device, dtype=weight.dtype), names)

    def _install(self, index: int, info: StageInfo, seen: Survey) -> Slot:
        found = self._refusals.get(index) or self._layout(info, seen.outputs[info.name])
        if isinstance(found, str):
            self._refusals[index] = found
            return Slot(Layout("NCHW", info.channels, 0, 0))
        reduction = _reduction(info.reduction, self.input_shape[-1], found.height)
        self._infos = (*self._infos[:index], StageInfo(info.name, found.channels, reduction), *self._infos[index + 1 :])
        return install(self.model.get_submodule(info.name), found)

    def _layout(self, info: StageInfo, outputs: list[Any]) -> Layout | str:
        if len(outputs) != 1:
            return f"its module runs {len(outputs)} times a pass"
        if not isinstance(outputs[0], Tensor):
            return f"its module gives a {type(outputs[0]).__name__}, not one tensor"
        channels_last = "NHWC" in str(getattr(self.model, "output_fmt", ""))
        prefix = int(getattr(self.model, "num_prefix_tokens", 0))
        return find_layout(outputs[0].shape, info.channels, prefix, channels_last)


def _reduction(claimed: int, resolution: int, height: int) -> int:
    """What the model claims where the map's size agrees with it, else what the map's size says."""
    agrees = height in (resolution // claimed, -(-resolution // claimed))
    return claimed if agrees else max(1, round(resolution / height))


def _described(output: Any) -> str:
    return f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
