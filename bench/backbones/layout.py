"""Where batch, channels and positions stand in a stage's output, and how to view it as (B, C, H, W)."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Literal

from torch import Size, Tensor, cat

from methods.api import FeatureMap


@dataclass(frozen=True)
class Layout:
    """One stage's layout: "NCHW", "NHWC", or "tokens" (B, prefix + height * width, C) with the prefix first.

    The two conversions are views wherever no prefix is joined, so they cost nothing.
    """

    kind: Literal["NCHW", "NHWC", "tokens"]
    channels: int
    height: int
    width: int
    prefix: int = 0

    def unpack(self, output: Tensor) -> FeatureMap:
        """The stage's output as spatial (B, C, H, W) and prefix (B, P, C) or None.

        Maps may be of any size (images of another resolution); tokens must be as many as at build time, since
        their grid cannot be seen from their number. Raises ValueError for anything else.
        """
        if self.kind == "tokens":
            expected = self.prefix + self.height * self.width
            if output.ndim != 3 or output.shape[1] != expected or output.shape[2] != self.channels:
                raise ValueError(f"expected (B, {expected}, {self.channels}) tokens, got {tuple(output.shape)}")
            grid = output[:, self.prefix :].unflatten(1, (self.height, self.width)).permute(0, 3, 1, 2)
            return FeatureMap(grid, output[:, : self.prefix] if self.prefix else None)
        axis = 1 if self.kind == "NCHW" else 3
        if output.ndim != 4 or output.shape[axis] != self.channels:
            raise ValueError(f"expected a {self.kind} map of {self.channels} channels, got {tuple(output.shape)}")
        return FeatureMap(output if self.kind == "NCHW" else output.permute(0, 3, 1, 2), None)

    def pack(self, features: FeatureMap) -> Tensor:
        """The inverse of `unpack`. Raises ValueError where channels or prefix are not those of this stage."""
        spatial, prefix = features
        if spatial.ndim != 4 or spatial.shape[1] != self.channels:
            raise ValueError(f"expected features (B, {self.channels}, H, W), got {tuple(spatial.shape)}")
        if (prefix is not None) != bool(self.prefix):
            raise ValueError(f"this stage has {self.prefix} prefix tokens; got prefix {_shape(prefix)}")
        if self.kind == "NCHW":
            return spatial
        if self.kind == "NHWC":
            return spatial.permute(0, 2, 3, 1)
        tokens = spatial.permute(0, 2, 3, 1).flatten(1, 2)
        if prefix is None:
            return tokens
        if prefix.shape[1:] != (self.prefix, self.channels):
            raise ValueError(f"expected prefix (B, {self.prefix}, {self.channels}), got {tuple(prefix.shape)}")
        return cat([prefix.to(tokens.dtype), tokens], dim=1)


def find_layout(shape: Size, channels: int, prefix: int, channels_last: bool) -> Layout | str:
    """The layout of a stage's output of this shape, for a square image.

    channels: what the model says about the stage; prefix: its number of prefix tokens; channels_last: what the
    model says about its maps. Both are used only where the shape leaves a choice. A string says why there is none.
    """
    if len(shape) == 3:
        for count in (prefix, 0):
            side = isqrt(max(0, shape[1] - count))
            if side > 0 and side * side == shape[1] - count:
                return Layout("tokens", shape[2], side, side, count)
        return f"its {shape[1]} tokens are no square grid after {prefix} prefix tokens"
    if len(shape) != 4:
        return f"its output has shape {tuple(shape)}, which is neither a map nor tokens"
    first, last = shape[1] == channels, shape[3] == channels
    if last and (channels_last or not first):
        return Layout("NHWC", shape[3], shape[1], shape[2])
    if first:
        return Layout("NCHW", shape[1], shape[2], shape[3])
    return f"its output has shape {tuple(shape)}, which has no axis of {channels} channels"


def _shape(tensor: Tensor | None) -> tuple[int, ...] | None:
    return None if tensor is None else tuple(tensor.shape)
