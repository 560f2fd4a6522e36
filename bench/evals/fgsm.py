"""One-step gradient attack in pixel space. A legacy column: mixing is a regulariser, not a defence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from torch import Tensor

from bench.evals.api import (
    Context,
    Done,
    EvalFeed,
    Evaluator,
    Metric,
    distinct,
    metric_key,
)
from bench.evals.forward import evaluation_mode

ROUNDING = 1e-6
"""How far float32 rounding may carry a pixel out of the ball."""


class FGSM(Evaluator):
    """x + eps * sign(gradient of the cross entropy), clamped to [0, 1] (Goodfellow et al. 2015).

    eps_255 are L-infinity radii in 1/255 of the pixel range. Normalisation is part of the attacked function; float32,
    evaluation mode, one step, no random start. per_class: attack only the first so many images of each class, 0 all.
    "fgsm_zero_gradient" is the share of images whose gradient is exactly zero everywhere: those count as robust
    without being so.
    """

    name: ClassVar[str] = "fgsm"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "FGSM (one step; legacy)"

    def __init__(
        self,
        *,
        eps_255: tuple[Annotated[float, Gt(0), Le(255)], ...] = (0.5, 1.0, 2.0, 4.0, 8.0),
        per_class: Annotated[int, Ge(0)] = 0,
        batch_size: Annotated[int, Ge(1)] = 256,
    ) -> None:
        distinct("fgsm: eps_255", eps_255)
        self.eps_255 = tuple(float(eps) for eps in eps_255)
        self.per_class = per_class
        self.batch_size = batch_size

    def plan(self, context: Context) -> list[str]:
        """Keys of all metrics, in order."""
        radii = [metric_key("fgsm_top1", {"eps_255": eps}) for eps in self.eps_255]
        return [metric_key("fgsm_clean_top1", {}), *radii, metric_key("fgsm_zero_gradient", {})]

    def evaluate(self, context: Context, done: Done) -> Iterator[Metric]:
        """Every metric that is not done, in the plan's order."""
        if all(key in done for key in self.plan(context)):
            return
        feed = context.split("test")
        model = pixel_model(context)
        hits = torch.zeros(len(self.eps_255) + 2, dtype=torch.int64, device=context.device)
        total = 0
        with evaluation_mode(context.backbone, context.device):
            for pixels, labels in attacked_subset(feed, self.per_class, self.batch_size):
                logits, gradient = input_gradient(model, pixels, labels)
                hits[0] += (logits.argmax(dim=1) == labels).sum()
                hits[-1] += (gradient.flatten(1) == 0).all(dim=1).sum()
                for place, eps in enumerate(self.eps_255, start=1):
                    attacked = step(pixels, gradient, eps / 255)
                    with torch.no_grad():
                        hits[place] += (model(attacked).argmax(dim=1) == labels).sum()
                total += len(labels)
        shares = [count / total for count in hits.tolist()]
        metrics = [
            Metric("fgsm_clean_top1", shares[0], {}),
            *(
                Metric("fgsm_top1", share, {"eps_255": eps})
                for eps, share in zip(self.eps_255, shares[1:-1], strict=True)
            ),
            Metric("fgsm_zero_gradient", shares[-1], {}),
        ]
        yield from (metric for metric in metrics if metric.key not in done)


def pixel_model(context: Context) -> Callable[[Tensor], Tensor]:
    """The attacked function: pixels (B, C, R, R) in [0, 1] to logits, normalisation included."""
    return lambda pixels: context.backbone(context.normalise(pixels * 255)).float()


def attacked_subset(feed: EvalFeed, per_class: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Pixels in [0, 1], contiguous float32, and labels: all images, or the first `per_class` of each class."""
    chosen = first_per_class(feed.labels.cpu(), per_class) if per_class else torch.ones(feed.size, dtype=torch.bool)
    start = 0
    for images, labels in feed.batches(batch_size):
        keep = chosen[start : start + len(labels)].to(labels.device)
        start += len(labels)
        if keep.any():
            yield (images[keep].float() / 255).contiguous(), labels[keep]


def first_per_class(labels: Tensor, count: int) -> Tensor:
    """Mask (N,) of the first `count` images of each class, in order."""
    one_hot = F.one_hot(labels)
    rank = (one_hot.cumsum(dim=0) * one_hot).sum(dim=1)
    return rank <= count


def input_gradient(model: Callable[[Tensor], Tensor], pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, K) and the gradient of the summed cross entropy by the pixels (B, C, H, W)."""
    leaf = pixels.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        logits = model(leaf)
        loss = F.cross_entropy(logits, labels, reduction="sum")
    return logits.detach(), torch.autograd.grad(loss, leaf)[0]


def step(pixels: Tensor, gradient: Tensor, eps: float) -> Tensor:
    """One signed step of length eps, clamped to [0, 1] and checked."""
    attacked = (pixels + eps * gradient.sign()).clamp(0, 1)
    check_attack(pixels, attacked, eps)
    return attacked


def check_attack(pixels: Tensor, attacked: Tensor, eps: float) -> None:
    """AssertionError where an attacked image left the L-infinity ball around its original or the box [0, 1]."""
    reach = (attacked - pixels).abs().max().item()
    if not reach <= eps + ROUNDING:
        raise AssertionError(f"an attacked image is {reach * 255:.4f}/255 from its original, allowed {eps * 255:g}/255")
    low, high = attacked.min().item(), attacked.max().item()
    if not (low >= 0 and high <= 1):
        raise AssertionError(f"an attacked image has pixels in [{low:g}, {high:g}], outside [0, 1]")
