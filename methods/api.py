"""What a mixing method is. The base class is itself a method: plain training, no mixing (ERM)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol

from torch import Tensor, nn

from methods.ops.keys import Key

Normalise = Callable[[Tensor], Tensor]
"""uint8 or float images in [0, 255], (B, C, H, W), to normalised float images of the same shape."""

Criterion = Callable[[Tensor, Tensor], Tensor]
"""logits (B, K) and labels (B,) int64 to the loss of each image (B,). It is linear in the label, so a mixed label's
loss is the mix of the losses. Loss form and label smoothing come from the protocol."""


class FeatureMap(NamedTuple):
    """Features of one stage in one layout for all backbones.

    spatial: (B, C, H, W), whatever the layout inside the model. prefix: (B, P, C) class and register tokens of a
    transformer, else None.
    """

    spatial: Tensor
    prefix: Tensor | None


Edit = Callable[[FeatureMap], FeatureMap]


class Backbone(Protocol):
    """What a method may ask of the network (bench.backbones.adapter implements it over timm)."""

    num_classes: int
    stages: tuple[str, ...]
    """Names of the main stages, shallow to deep; stage 1 of a paper is stages[0], the last map is stages[-1]."""

    attention_refusal: str | None
    """Why there is no `attention`, in one sentence; None where there is."""

    def __call__(self, images: Tensor, edit: Mapping[int, Edit] | None = None) -> Tensor:
        """Logits (B, K). `edit` maps a stage index (negative counts from the end) to a function applied there."""
        ...

    def features(self, images: Tensor, stage: int = -1) -> FeatureMap:
        """The feature map after a stage."""
        ...

    def head(self, features: FeatureMap) -> Tensor:
        """Logits (B, K) from the last stage's feature map: all that comes after the last stage."""
        ...

    def attention(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, K), and the class token's attention in the last block of that pass (B, heads, positions).

        The weights are float32, detached, before dropout; positions are the grid's, row by row, without prefix tokens,
        so a head sums to at most 1.
        """
        ...

    def width(self, stage: int = -1) -> int:
        """Channels after a stage."""
        ...

    def reduction(self, stage: int = -1) -> int:
        """Input pixels per feature position and side after a stage."""
        ...

    def probe(self) -> AbstractContextManager[None]:
        """Inside it extra passes leave BatchNorm's running statistics alone."""
        ...

    def parameters(self, recurse: bool = True) -> Any:
        """The weights, as of nn.Module."""
        ...


class Task(NamedTuple):
    """What the protocol fixes for every method: the number of classes, the loss, the input's shape (C, H, W)."""

    num_classes: int
    criterion: Criterion
    input_shape: tuple[int, int, int]


class BatchShape(NamedTuple):
    """What a draw may depend on: batch size, channels, height and width of the images, and the run's progress."""

    size: int
    channels: int
    height: int
    width: int
    progress: float = 0.0
    """Share of the training done, in [0, 1)."""


@dataclass(frozen=True)
class Draws:
    """All randomness of one step.

    branch: which path the step takes ("input", "layer2", ...); static, one compiled graph each, so keep to a handful.
    tensors: small CPU tensors (lam, permutation, boxes); the trainer moves them to the device.
    """

    branch: str = ""
    tensors: Mapping[str, Tensor] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]


class Batch(NamedTuple):
    """views: what `Method.views` made, each (B, C, H, W) normalised float. labels: (B,) int64."""

    views: tuple[Tensor, ...]
    labels: Tensor


class Loss(NamedTuple):
    """total: scalar to minimise. parts: named scalars for the record, detached, still tensors (no host sync).

    A method that mixes images reports `share_kept`: the mean weight of an image's own label in this step, in [0, 1].
    carry: detached tensors that `remember` is given after the step, such as this step's logits.
    """

    total: Tensor
    parts: dict[str, Tensor]
    carry: Mapping[str, Tensor] = MappingProxyType({})


class Method(nn.Module):
    """Base class of all methods, and plain training (ERM) itself.

    Hyper-parameters are keyword arguments of the constructor with type, range and default, such as
    `alpha: Annotated[float, Ge(0)] = 1.0`; configs are checked against that signature without importing torch.
    A step is `draw` (host, all randomness), `views` (device, no gradient), `guide` (device, what the loss needs to know
    from networks or from earlier steps), `loss` (device, pure given its draws).
    Subclasses override what they need.
    """

    version: ClassVar[str] = "1"
    title: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    family: ClassVar[str] = "none"
    """One of: none, input, feature, single-image, saliency, learned, transformer."""
    venue: ClassVar[str] = ""
    """Where and when it was published, such as "ICLR 2018"; "preprint 2020" where it was not."""
    mixes: ClassVar[str] = "nothing"
    """What it mixes: nothing, input, features, input and features."""
    proved: ClassVar[str] = ""
    """Against which independent references the tests hold it."""

    task: Task

    def setup(self, backbone: Backbone, task: Task) -> None:
        """Called once before the optimiser is made; build decoders, mixers or teachers here.

        Overrides call `super().setup(...)`. The backbone is not a submodule of the method.
        """
        self.task = task

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """All randomness of a step, from `key` alone."""
        return Draws()

    def views(self, images: Tensor, normalise: Normalise, draws: Draws) -> tuple[Tensor, ...]:
        """Turn cropped and flipped uint8 images (B, C, H, W) into one or more normalised float views."""
        return (normalise(images),)

    def guide(self, backbone: Backbone, batch: Batch, draws: Draws) -> Mapping[str, Tensor]:
        """Detached tensors that the loss needs from networks or earlier steps: saliency, attention, masks, history.

        The loss finds them among the draws' tensors, so names must differ. Called before each loss, never compiled,
        without host sync and without randomness; gradients are enabled, but no parameter's `.grad` may change. Passes
        through the trained network belong inside `backbone.probe()`.
        """
        return {}

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """The method's loss. Pure given its draws: no randomness, no host sync, no change of `batch`."""
        total = self.task.criterion(backbone(batch.views[0]), batch.labels).mean()
        return Loss(total, {})

    def remember(self, batch: Batch, carry: Mapping[str, Tensor]) -> None:
        """Called after each backward pass with its batch and `Loss.carry`; keep what `guide` needs later in buffers,
        by copy, so that a resumed run has them."""

    def after_step(self, backbone: Backbone, progress: float) -> None:
        """Called after each optimiser step: moving-average teachers, schedules. progress is in (0, 1]."""

    def diagnostics(self, backbone: Backbone, batch: Batch, key: Key) -> dict[str, Tensor]:
        """Numbers about the trained method for the record, named; called once after training in eval mode without
        gradient. batch holds un-mixed views; each value is a float scalar tensor."""
        return {}

    def param_groups(self) -> list[dict[str, Any]]:
        """Optimiser groups of the method's own parameters; options left out come from the protocol."""
        own = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return [{"params": own}] if own else []

    def skip(self, backbone: Backbone, task: Task) -> str | None:
        """Why this method cannot run on this backbone, in one sentence; None when it can."""
        return None


def guided(method: Method, backbone: Backbone, batch: Batch, draws: Draws) -> Draws:
    """The draws together with what `method.guide` adds: what `method.loss` is to be called with."""
    added = method.guide(backbone, batch, draws)
    return Draws(draws.branch, {**draws.tensors, **added}) if added else draws


def mixed_loss(criterion: Criterion, logits: Tensor, labels: Tensor, permutation: Tensor, lam: Tensor) -> Tensor:
    """Mean over the batch of lam * L(logits, labels) + (1 - lam) * L(logits, labels[permutation]).

    logits (B, K); labels (B,); permutation (B,); lam () or (B,), the weight of an image's own label, in [0, 1].
    """
    own = criterion(logits, labels)
    partner = criterion(logits, labels[permutation])
    return (lam * own + (1 - lam) * partner).mean()
