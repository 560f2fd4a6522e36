"""AlignMix: mix two feature maps after aligning one with the other by optimal transport."""

from __future__ import annotations

import functools
import math
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn
from torch.nn import functional

from methods.api import Backbone, Batch, BatchShape, Draws, FeatureMap, Loss, Method, Task, mixed_loss
from methods.ops.alignment import carry_to_first, carry_to_second, cosine_cost, partners, squared_l2_cost
from methods.ops.decoder import Decoder
from methods.ops.keys import Key
from methods.ops.mixing import draw_lam, draw_permutation, mix
from methods.ops.sinkhorn import sinkhorn

INPUT, TO_FIRST, TO_SECOND = "input", "to_first", "to_second"
COSTS = {"squared_l2": squared_l2_cost, "cosine": cosine_cost}


class AlignMix(Method):
    """Mix the pixels, or feature maps of which one is first carried to the other's positions by optimal transport.

    Definition: for each batch a coin (input_share) chooses mixing of the pixels, as in Mixup, or of the maps of one
    stage, from clean images. There A, A' (c x r) are the maps of an image and its partner, with r positions; C_ij is
    the cost of matching column i of A with column j of A'; P the Sinkhorn plan between uniform distributions; R = r P,
    without gradient. A second, fair coin takes lam A + (1 - lam) A' R^T ("to_first") or lam A R + (1 - lam) A'
    ("to_second"). lam ~ Beta(alpha, alpha), one a batch, is the weight of the image's own label in both. The loss is
    lam * L(logits, y) + (1 - lam) * L(logits, y[permutation]). Tokens before the grid (a ViT's class token) have no
    place and are mixed with lam as they are.

    Parameters: cost, epsilon (in the cost's units), iterations, stopping and tolerance are those of
    `methods.ops.alignment` and `methods.ops.sinkhorn`. stage: whose map; negative counts from the end. direction:
    "both" tosses the second coin, the others fix it. aligned: False is the control, R replaced by the identity, with
    the same draws at the same key. decoder: see below; decoder_width: channels of its first layer.

    Defaults: the released code's, but for `stopping`, which there is "official".

    Differences from the official code: "official" stopping makes a pair's plan depend on its batch mates and waits for
    the host in every iteration, so "fixed" is the default. The plan and the mix are float32 whatever autocast says.
    The loss is the protocol's; the paper reports the best test epoch of one seed. `lam_per: sample` draws one lam an
    image, which that code does not offer; the coins stay the batch's.

    Decoder (AlignMixup/AE): the authors released no code for it, so this is a reading of the paper. In the batches
    whose maps are mixed the decoder reconstructs the normalised images from the clean maps, before mixing; loss +
    reconstruction_weight * mean squared error trains decoder and encoder. In the other batches the encoder sees no
    clean image and nothing is reconstructed. The classifier never sees a decoded image.

    Traps: under global average pooling and a linear layer alignment to the first image is the same function as the
    control, and alignment to the second is too as far as the rows of R sum to 1. A norm after the pooling
    (timm's ConvNeXt) does not change that; a norm, non-linearity or block before the pooling does. After the last block
    of a ViT that classifies by its class token alignment does nothing at all. `diagnostics` says how much it did.
    At the official cost of a trained network the rows are far from converged after 100 iterations. alpha 0 is lam = 1,
    which leaves the image as it is in the input and "to_first" branches but is A R in "to_second".
    """

    title = "AlignMix"
    paper = (
        "Venkataramanan et al., AlignMixup: Improving Representations By Interpolating Aligned Features, CVPR 2022, "
        "arXiv 2103.15375"
    )
    family = "feature"
    venue = "CVPR 2022"
    mixes = "input and features"
    proved = "POT in float64, a loop over positions, the two pooling identities"

    def __init__(
        self,
        *,
        alpha: Annotated[float, Ge(0)] = 2.0,
        input_share: Annotated[float, Ge(0), Le(1)] = 0.5,
        cost: Literal["squared_l2", "cosine"] = "squared_l2",
        epsilon: Annotated[float, Gt(0)] = 0.1,
        iterations: Annotated[int, Ge(1)] = 100,
        stopping: Literal["official", "fixed", "tolerance"] = "fixed",
        tolerance: Annotated[float, Ge(0)] = 0.1,
        stage: int = -1,
        direction: Literal["both", "to_first", "to_second"] = "both",
        aligned: bool = True,
        decoder: bool = False,
        reconstruction_weight: Annotated[float, Ge(0)] = 1.0,
        decoder_width: Annotated[int, Ge(1)] = 64,
        lam_per: Annotated[Literal["batch", "sample"], "neutral"] = "batch",
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.input_share = input_share
        self.cost = cost
        self.epsilon = epsilon
        self.iterations = iterations
        self.stopping: Literal["official", "fixed", "tolerance"] = stopping
        self.tolerance = tolerance
        self.stage = stage
        self.direction = direction
        self.aligned = aligned
        self.reconstructs = decoder
        self.reconstruction_weight = reconstruction_weight
        self.decoder_width = decoder_width
        self.lam_per = lam_per
        self.decoder: Decoder | None = None

    def setup(self, backbone: Backbone, task: Task) -> None:
        """Build the decoder, on the CPU; its initial weights are the same in every run, whatever the seed."""
        super().setup(backbone, task)
        if self.reconstructs:
            generator = torch.Generator().manual_seed(Key("alignmix", "decoder").integer())
            width, reduction = backbone.width(self.stage), backbone.reduction(self.stage)
            self.decoder = Decoder(width, reduction, task.input_shape, self.decoder_width, generator)

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """branch: "input", "to_first" or "to_second". lam: () or (B,) float32. permutation: (B,) int64.

        No draw depends on another one or on `aligned`, so that arms are paired.
        """
        lam = draw_lam(key, self.alpha, shape.size if self.lam_per == "sample" else None)
        tensors = {"lam": lam, "permutation": draw_permutation(key, shape.size)}
        if key.fold("branch").generator().random() < self.input_share:
            return Draws(INPUT, tensors)
        if self.direction != "both":
            return Draws(self.direction, tensors)
        return Draws(TO_FIRST if key.fold("direction").generator().random() < 0.5 else TO_SECOND, tensors)

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """The mixed loss of one pass, plus the reconstruction of the clean images where there is a decoder."""
        (images,) = batch.views
        permutation, lam = draws["permutation"], draws["lam"]
        clean: list[Tensor] = []

        def edit(features: FeatureMap) -> FeatureMap:
            clean.append(features.spatial)
            return self.mix_features(features, draws.branch, permutation, lam)

        if draws.branch == INPUT:
            logits = backbone(mix(images, images[permutation], lam))
        else:
            logits = backbone(images, edit={self.stage: edit})
        total = mixed_loss(self.task.criterion, logits, batch.labels, permutation, lam)
        kept = {"share_kept": lam.mean()}
        if self.decoder is None:
            return Loss(total, kept)
        if draws.branch == INPUT:
            return Loss(total + _zero_of(self.decoder), kept)
        reconstruction = functional.mse_loss(self.decoder(clean[0]).float(), images.float())
        return Loss(
            total + self.reconstruction_weight * reconstruction, {**kept, "reconstruction": reconstruction.detach()}
        )

    def mix_features(self, features: FeatureMap, branch: str, permutation: Tensor, lam: Tensor) -> FeatureMap:
        """A batch's maps mixed with those of its permutation, in the features' own dtype.

        branch: "to_first" or "to_second". permutation: (B,) int64. lam: () or (B,) float32 in [0, 1]. The result lies
        in memory as the features do; maps in channels_last are worked on without a copy.
        """
        spatial, prefix = features
        with torch.autocast(spatial.device.type, enabled=False):
            first = spatial.flatten(2).float()
            second = partners(first, permutation)
            if self.aligned:
                assignment = self.assignment(first, second)
                if branch == TO_FIRST:
                    second = carry_to_first(second, assignment)
                else:
                    first = carry_to_second(first, assignment)
            mixed = torch.lerp(second, first, lam.reshape(-1, 1, 1)).to(spatial.dtype).reshape(spatial.shape)
        return FeatureMap(mixed, None if prefix is None else mix(prefix, prefix[permutation], lam))

    @torch.no_grad()
    def assignment(self, first: Tensor, second: Tensor) -> Tensor:
        """R = r P of the paper, without gradient: (B, r, r) float32 for maps (B, C, r), rows for positions of `first`.

        Columns sum to 1 to rounding; rows as far as Sinkhorn has converged.
        """
        cost = COSTS[self.cost](first, second)
        return first.shape[2] * sinkhorn(cost, self.epsilon, self.iterations, self.stopping, self.tolerance)

    def diagnostics(self, backbone: Backbone, batch: Batch, key: Key) -> dict[str, Tensor]:
        """alignment_effect_to_first and ..._to_second at lam = 0.5 and a keyed permutation; none for the control."""
        if not self.aligned:
            return {}
        (images,) = batch.views
        permutation = draw_permutation(key, len(images)).to(images.device)
        effects = self.alignment_effect(backbone, images, permutation, torch.tensor(0.5, device=images.device))
        return {f"alignment_effect_{branch}": effect for branch, effect in effects.items()}

    @torch.no_grad()
    def alignment_effect(
        self, backbone: Backbone, images: Tensor, permutation: Tensor, lam: Tensor
    ) -> dict[str, Tensor]:
        """|Z - Z'| / |Z'| by direction ("to_first", "to_second"), Z the logits and Z' those with R = identity.

        images: (B, C, H, W) normalised. permutation: (B,) int64. lam: () float32. Norms are over the whole batch. The
        scalars are float32; 0 means that alignment does nothing. The backbone's mode is the caller's concern.
        """
        control = AlignMix(aligned=False)

        def logits(method: AlignMix, branch: str) -> Tensor:
            edit = functools.partial(method.mix_features, branch=branch, permutation=permutation, lam=lam)
            return backbone(images, edit={self.stage: edit}).float()

        plain = logits(control, TO_FIRST)
        return {branch: (logits(self, branch) - plain).norm() / plain.norm() for branch in (TO_FIRST, TO_SECOND)}

    def skip(self, backbone: Backbone, task: Task) -> str | None:
        """A stage that is not there, or whose map is a single position, where alignment has nothing to choose."""
        count = len(backbone.stages)
        if not -count <= self.stage < count:
            return f"there is no stage {self.stage}: the backbone has stages 0 to {count - 1}"
        sizes = [_map_size(backbone, task, stage) for stage in range(count)]
        if math.prod(sizes[self.stage]) > 1:
            return None
        reason = f"the map of stage {self.stage} ({backbone.stages[self.stage]}) is 1x1, so there is nothing to align"
        usable = [stage for stage in range(count) if math.prod(sizes[stage]) > 1]
        if not usable:
            return f"{reason}; no stage has a larger map at this resolution"
        deepest = usable[-1]
        height, width = sizes[deepest]
        return f"{reason}; stage={deepest} ({backbone.stages[deepest]}, {height}x{width}) works"


def _zero_of(module: nn.Module) -> Tensor:
    """Zero that depends on all parameters: DDP wants a gradient for every one in every step."""
    return 0 * torch.stack([parameter.sum() for parameter in module.parameters()]).sum()


def _map_size(backbone: Backbone, task: Task, stage: int) -> tuple[int, int]:
    _, height, width = task.input_shape
    reduction = backbone.reduction(stage)
    return math.ceil(height / reduction), math.ceil(width / reduction)
