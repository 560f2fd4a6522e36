"""The main stages of a timm model, read from its `feature_info`."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

MOST_STAGES = 4


class StageRefused(ValueError):
    """Features cannot be edited or taken at this stage; the message says why."""


class StageInfo(NamedTuple):
    """What the model says about a stage: its module's name, channels, and input pixels per position and side."""

    name: str
    channels: int
    reduction: int


def main_stages(model: nn.Module) -> tuple[StageInfo, ...]:
    """The main stages, shallow to deep, at most four.

    For models whose resolution falls: the last four entries of `feature_info` (of a ResNet layer1 to layer4, without
    the stem). For models of constant resolution, such as ViT: the blocks at a quarter, a half, three quarters and
    the whole of the depth. Empty for models without `feature_info`.
    """
    entries: Any = getattr(model, "feature_info", None) or []
    if hasattr(entries, "info"):
        entries = entries.info
    found = [StageInfo(entry["module"], int(entry["num_chs"]), int(entry["reduction"])) for entry in entries]
    if len(found) > MOST_STAGES and len({stage.reduction for stage in found}) == 1:
        depth = len(found)
        found = [found[depth * quarter // MOST_STAGES - 1] for quarter in range(1, MOST_STAGES + 1)]
    return tuple(found[-MOST_STAGES:])
