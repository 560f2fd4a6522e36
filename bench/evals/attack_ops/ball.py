"""Where an attacked image may lie: a ball around its original, within the box [0, 1] of valid pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

ROUNDING = 1e-6
"""How far float32 rounding may carry a pixel out of the ball."""
RELATIVE_ROUNDING = 1e-5
"""The same for a Euclidean length, a sum over all pixels, as a share of eps."""


@dataclass(frozen=True)
class Ball:
    """All images within eps of an original, and with pixels in [0, 1].

    norm: "linf", the largest change of any pixel value; "l2", the Euclidean length of the change of all pixel values.
    eps: the radius, for pixels in [0, 1] (8/255 for what papers call 8). Images are (B, C, H, W); each has its own
    ball.
    """

    norm: Literal["linf", "l2"]
    eps: float

    def project(self, pixels: Tensor, attacked: Tensor) -> Tensor:
        """Move `attacked` into the balls around `pixels`, then clamp it to [0, 1].

        For "linf" this is the nearest allowed image. For "l2" it is allowed but not always the nearest: as the
        originals lie in the box, clamping only brings a pixel closer to its original, so it never leaves the ball.
        """
        if self.norm == "linf":
            return attacked.clamp(pixels - self.eps, pixels + self.eps).clamp(0, 1)
        change = attacked - pixels
        length = _spread(self.length(change), change)
        # Changes inside the ball keep their length to the last bit.
        scale = torch.where(length > self.eps, self.eps / length.clamp(min=torch.finfo(length.dtype).tiny), 1.0)
        return (pixels + change * scale).clamp(0, 1)

    def direction(self, gradient: Tensor) -> Tensor:
        """The change of length 1 along which a linear loss of this gradient grows fastest; a zero gradient gives 0.

        "linf": the sign of each value. "l2": the gradient of each image by its length.
        """
        if self.norm == "linf":
            return gradient.sign()
        # Scaled by the largest value first: the squares of a saturated network's gradient underflow in float32.
        largest = _spread(gradient.flatten(1).abs().amax(dim=1), gradient)
        scaled = torch.where(largest > 0, gradient / largest, 0.0)
        length = _spread(self.length(scaled), scaled)
        return torch.where(largest > 0, scaled / length, 0.0)

    def length(self, change: Tensor) -> Tensor:
        """How far each image is from its original, in this norm, (B,), from attacked - pixels."""
        order = torch.inf if self.norm == "linf" else 2
        return torch.linalg.vector_norm(change.flatten(1), ord=order, dim=1)

    def check(self, pixels: Tensor, attacked: Tensor) -> None:
        """AssertionError where an attacked image left its ball or the box, or is not a number. None may be empty."""
        reach = self.length(attacked - pixels).max().item()
        allowance = ROUNDING + (RELATIVE_ROUNDING * self.eps if self.norm == "l2" else 0)
        if not reach <= self.eps + allowance:
            raise AssertionError(f"an attacked image is {self._named(reach)} from its original, allowed {self}")
        check_box(attacked)

    def __str__(self) -> str:
        return f"{self._named(self.eps)} in {self.norm}"

    def _named(self, length: float) -> str:
        return f"{length * 255:.5g}/255" if self.norm == "linf" else f"{length:.5g}"


def check_box(attacked: Tensor) -> None:
    """AssertionError where an attacked image (B, ...), B >= 1, has a pixel outside [0, 1] or not a number."""
    low, high = attacked.min().item(), attacked.max().item()
    if not (low >= 0 and high <= 1):
        raise AssertionError(f"an attacked image has pixels in [{low:g}, {high:g}], outside [0, 1]")


def _spread(values: Tensor, images: Tensor) -> Tensor:
    """One value an image (B,), shaped to multiply images (B, ...)."""
    return values.reshape(-1, *(1,) * (images.ndim - 1))
