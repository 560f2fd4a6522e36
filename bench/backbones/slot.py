"""The place inside a model where an edit is put for one call, and the permanent hook that reads it.

The slot is an attribute of the hooked module and the hook is a plain function. So a deep copy (a moving average, a
teacher) has slots of its own, and torch.compile traces the hook as a part of the model: hooks that are added later
around a compiled call would be ignored in silence.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from bench.backbones.layout import Layout
from methods.api import Edit, FeatureMap

ATTRIBUTE = "stage_slot"


class Slot:
    """Holds the edit of one stage during one forward pass, else None."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.edit: Edit | None = None


class Taken(Exception):
    """Ends a forward pass once the wanted features are there."""


class Taking:
    """An edit that keeps the features of its stage and, with `ends`, ends the pass by raising Taken."""

    def __init__(self, ends: bool) -> None:
        self.ends = ends
        self.features: FeatureMap | None = None

    def __call__(self, features: FeatureMap) -> FeatureMap:
        """Keep the features."""
        self.features = features
        if self.ends:
            raise Taken
        return features


def install(module: nn.Module, layout: Layout) -> Slot:
    """Give a module its slot and hook."""
    slot = Slot(layout)
    setattr(module, ATTRIBUTE, slot)
    module.register_forward_hook(apply_slot)
    return slot


def apply_slot(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
    """Forward hook: the edited output in the module's own layout and dtype, or None to leave it alone."""
    slot: Slot = getattr(module, ATTRIBUTE)
    if slot.edit is None:
        return None
    return slot.layout.pack(slot.edit(slot.layout.unpack(output))).to(output.dtype)
