"""IPMix with fractals that are drawn instead of downloaded."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, Normalise, Task
from methods.ops.augmix_operations import mix
from methods.ops.fractals import fractal_pictures
from methods.ops.ipmix_plan import Plan, draw_plan, schedule
from methods.ops.jensen_shannon import consistency_loss
from methods.ops.keys import Key
from methods.ops.patch_mixing import run_chains
from methods.ops.picture_mixing import crops, larger, spare
from methods.ops.white_noise import draw_seeds


class IpMixProcedural(Method):
    """Mix each image with copies of itself that were changed as a whole, or patch by patch with a picture of a fractal.

    Definition: per image and view, `width` chains, w ~ Dirichlet(1, ..., 1) and m ~ Beta(1, 1); the view is (1 - m) * x
    + m * sum_i w_i * chain_i(x). A fair coin decides whether a chain works on the whole image or on patches, and it
    takes U{0, ..., steps} steps. A step on the whole image is one of ten operations: AugMix's without autocontrast, and
    mirroring and inverting, at a level U(0.1, severity) on a scale of 10. A step on a patch draws a size s of 4, 8, 16
    or 32 pixels, a place where a square of that size fits and, with equal chance, either the square or a part of it
    that keeps its upper left corner and has sides U{2, ..., s}. There the chain's image p, with values in [0, 1], is
    mixed with the same patch q of a picture in one of four ways: (a (2 p - 1) + b (2 q - 1) + 1) / 2; (2 p)^a *
    (2 q)^b / 2; whole pixels taken from p with chance c, else from q; single channel values taken so. With equal chance
    (a, b) is (u, v) or (1 + v, -w), with u ~ Beta(beta, 1) and v, w ~ Beta(1, beta); c ~ U(0, 1) is drawn for the
    patch. An image has one picture in all its chains and views. The label is unchanged. With jsd the network sees the
    image and two views, and the loss is AugMix's: L(clean logits, y) + jsd_weight * the Jensen-Shannon divergence of
    the three predictions. Without it is L on one view.

    Defaults: width 3, steps 3, beta 3, severity 3, jsd with weight 12: the official code's for CIFAR.

    Differences from IPMix, hence the name: its pictures are downloaded; here they are attractors of random iterated
    function systems, `pictures` many, drawn once from a fixed key. Patch sizes are those of images of 32 pixels; at
    other resolutions they are an eighth, a quarter, a half and all of the shorter side. The official ImageNet code has
    six sizes, beta 4 and severity 1, and takes half of its patches from a changed copy of the image: that variant is
    not built. Random choices of pixels come from a hash of positions and drawn seeds, the same on every device.

    Traps: the official code turns a mixed patch into bytes without clipping it, so that what is brighter than white
    starts again at black and what is darker than black at white. On photographs one value in seven of what the two
    formulas give does so, and it looks like speckle. `overflow: wrap` does the same; `overflow: clip`, as in PixMix, is
    the arm `ipmix_procedural-clip`. The consistency loss is part of the published numbers, says that code's README,
    though the paper does not dwell on it. A step costs three times as much with it. Inverting and solarizing do not
    keep the label on every data set, nor does mirroring on digits. Numbers of this method say nothing about the
    published picture set.
    """

    title = "IPMix (procedural fractals)"
    paper = (
        "Huang et al., IPMix: Label-Preserving Data Augmentation Method for Training Robust Classifiers, NeurIPS 2023, "
        "arXiv 2310.04780; the picture set is this harness's own"
    )
    family = "single-image"
    venue = "NeurIPS 2023"
    proved = "PIL operation by operation, torchvision's conversion to bytes, a loop over images, chains and pixels"
    pictures: Tensor

    def __init__(
        self,
        *,
        width: Annotated[int, Ge(1)] = 3,
        steps: Annotated[int, Ge(0)] = 3,
        beta: Annotated[float, Gt(0)] = 3.0,
        severity: Annotated[int, Ge(1), Le(10)] = 3,
        jsd: bool = True,
        jsd_weight: Annotated[float, Ge(0)] = 12.0,
        overflow: Literal["wrap", "clip"] = "wrap",
        pictures: Annotated[int, Ge(1), Le(4096)] = 128,
    ) -> None:
        super().__init__()
        self.width = width
        self.steps = steps
        self.beta = beta
        self.severity = severity
        self.jsd = jsd
        self.jsd_weight = jsd_weight
        self.overflow = overflow
        self.count = pictures

    @property
    def augmented_views(self) -> int:
        """Views besides the clean image: two with jsd, else one."""
        return 2 if self.jsd else 1

    def setup(self, backbone: Backbone, task: Task) -> None:
        """Draw the pictures, (pictures, C, ceil(9 H / 8), ceil(9 W / 8)) uint8."""
        super().setup(backbone, task)
        channels, height, width = task.input_shape
        pictures = fractal_pictures(self.count, channels, larger(height), larger(width))
        self.register_buffer("pictures", pictures, persistent=False)

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """picture (B,) int64; corner (B, 2) int64 pixels; weights (V, width, B) float32, sums over width to 1; m (V, B)
        float32; seeds (steps, 2) int64. The rest: see `ipmix_plan.schedule`; chain k of image i in view v has the index
        (v * width + k) * B + i."""
        generator = key.fold("mix").generator()
        views, size = self.augmented_views, shape.size
        weights = generator.dirichlet(np.ones(self.width), (views, size)).swapaxes(1, 2)
        tensors = {
            "picture": generator.integers(self.count, size=size),
            "corner": generator.integers(spare(shape.height, shape.width), size=(size, 2)),
            "weights": weights.astype(np.float32),
            "m": generator.beta(1, 1, (views, size)).astype(np.float32),
        }
        return Draws(
            tensors={
                **{name: torch.from_numpy(values) for name, values in tensors.items()},
                "seeds": draw_seeds(key.fold("pixels"), self.steps),
                **schedule(self.plan(key, shape), shape.height, shape.width),
            }
        )

    def plan(self, key: Key, shape: BatchShape) -> Plan:
        """What the chains of a step do."""
        return draw_plan(
            key.fold("chains").generator(),
            chains=self.augmented_views * self.width * shape.size,
            steps=self.steps,
            severity=self.severity,
            beta=self.beta,
            height=shape.height,
            width=shape.width,
        )

    def views(self, images: Tensor, normalise: Normalise, draws: Draws) -> tuple[Tensor, ...]:
        """The clean images (with jsd only) and the mixed views."""
        views, width, size = draws["weights"].shape
        patches = crops(self.pictures, draws["picture"], draws["corner"], *images.shape[-2:])
        ends = run_chains(images, patches, draws.tensors, self.steps, self.overflow == "wrap")
        mixed = mix(images, ends.view(views, width, *images.shape), draws["weights"], draws["m"])
        augmented = normalise(mixed.flatten(0, 1)).split(size)
        return (normalise(images), *augmented) if self.jsd else augmented

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """One pass over all views; the divergence only with jsd."""
        if not self.jsd:
            return super().loss(backbone, batch, draws)
        return consistency_loss(backbone, batch, self.task.criterion, self.jsd_weight)
