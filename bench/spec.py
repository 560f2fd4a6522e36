"""The frozen description of one run, its canonical JSON and its id. Imports neither torch nor NumPy."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Scalar = bool | int | float | str | None

UNHASHED: JsonDict = {"hashed": False}
"""Marks a field that says where or how fast, not what: it takes no part in the run id."""
NEUTRAL: JsonDict = {"neutral": True}
"""Marks a field added after the first release: hashed only when it differs from its default, so old ids live on."""


class Section(BaseModel):
    """Base of all spec sections: frozen, strict types, no unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    def hashed(self) -> dict[str, Any]:
        """The hashed fields as plain JSON values."""
        return _hashed(self)

    @cached_property
    def hashed_text(self) -> str:
        """`hashed` as canonical JSON; kept, since thousands of runs share a section."""
        return canonical_json(self.hashed())

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some values changed; they are not validated."""
        copied = super().model_copy(update=update, deep=deep)
        own = cast("dict[str, Any]", copied.__dict__)
        for name in own.keys() - type(self).model_fields.keys():  # what was worked out from the old values
            del own[name]
        return copied


class DataSpec(Section):
    """What the images are and how a training image is cropped, flipped and normalised.

    source: "digits" (scikit-learn's 8x8 digits), "cifar10", "cifar100" (torchvision's downloader), "folder" (images
    in train/<class>/ and test/<class>/ or val/<class>/, decoded once and kept on the device), "streaming" (timm's
    create_dataset and worker processes, for what does not fit in memory).
    """

    source: Literal["digits", "cifar10", "cifar100", "folder", "streaming"]
    dataset: str = ""
    """For "streaming": timm's dataset name ("" is an ImageFolder, "hfds/...", "wds/...")."""
    root: Annotated[str | None, Field(json_schema_extra=UNHASHED)] = None
    workers: Annotated[NonNegativeInt, Field(json_schema_extra=UNHASHED)] = 4
    resolution: PositiveInt
    """Height and width that the network sees, in pixels."""
    channels: Literal[1, 3] = 3
    mean: tuple[float, ...]
    std: tuple[PositiveFloat, ...]
    """Per channel, on images scaled to [0, 1]."""
    train_per_class: PositiveInt | None = None
    """Keep this many training images of each class (chosen by split_seed); None keeps all."""
    validation: Fraction = 0.0
    """Share of the training images held out, per class, before train_per_class applies."""
    split_seed: NonNegativeInt = 0
    held_out_classes: Annotated[tuple[str, ...], Field(json_schema_extra=NEUTRAL)] = ()
    """Classes that the network never sees; their test images are the split "held_out", as out-of-distribution set."""
    crop: Literal["none", "pad", "random_resized"] = "none"
    crop_padding: NonNegativeInt = 4
    padding_mode: Literal["reflect", "zeros"] = "reflect"
    crop_scale_min: Annotated[float, Field(gt=0, le=1)] = 0.08
    """For "random_resized": smallest share of the image's area."""
    flip: bool = False
    rand_augment: str | None = None
    """timm's RandAugment string such as "rand-m9-mstd0.5-inc1"; for "streaming" only."""
    decoder: Annotated[Literal["pil", "torchvision", "nvjpeg"], Field(json_schema_extra=NEUTRAL)] = "pil"
    """For "streaming": what decodes JPEG files to train on ("nvjpeg": a CUDA device). Pillow decodes the rest."""
    jpeg_side: Annotated[PositiveInt | None, Field(json_schema_extra=NEUTRAL)] = None
    """For "streaming": JPEG files to train on are decoded at 1/2, 1/4 or 1/8 of their size where their shorter side
    stays at least so long; None decodes them whole."""
    augment_on: Annotated[Literal["workers", "device"], Field(json_schema_extra=UNHASHED)] = "workers"
    """For "streaming": where training images are cropped, resized and flipped. The pixels are the same."""
    digest: str | None = None
    """Digest of the splits (which images, which labels); filled in when the data are looked at."""

    @model_validator(mode="after")
    def _channels_match(self) -> DataSpec:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels:
                raise ValueError(f"{name} has {len(values)} values for {self.channels} channels")
        if self.rand_augment is not None and self.source != "streaming":
            raise ValueError("rand_augment needs source: streaming")
        return self

    @model_validator(mode="after")
    def _decoding_possible(self) -> DataSpec:
        for name in ("decoder", "jpeg_side", "augment_on"):
            if self.source != "streaming" and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} {getattr(self, name)} needs source: streaming")
        if self.jpeg_side is not None and self.jpeg_side < self.resolution:
            raise ValueError(f"jpeg_side {self.jpeg_side} is below the resolution {self.resolution}")
        if self.rand_augment is not None and self.augment_on == "device":
            raise ValueError("rand_augment is done by workers; leave augment_on at workers")
        if self.decoder == "nvjpeg" and self.augment_on != "device":
            raise ValueError("decoder nvjpeg leaves the images on the device; set augment_on: device")
        if self.decoder != "pil" and self.jpeg_side is not None:
            raise ValueError(f"jpeg_side needs decoder: pil; {self.decoder} decodes whole images")
        return self


class BackboneSpec(Section):
    """A timm classification model. small_stem: 3x3 stride 1 and no max-pool, for images of 64 px and below."""

    name: str
    pretrained: bool = False
    small_stem: bool = False
    drop_path: Fraction = 0.0
    dropout: Fraction = 0.0
    options: dict[str, Scalar] = Field(default_factory=dict)
    """Further keyword arguments of timm.create_model."""


class ExceptionSpec(Section):
    """What one implementation needs otherwise than the common protocol, and why; printed as a footnote."""

    method: str
    set: dict[str, Scalar | tuple[int, ...]]
    reason: str


class ProtocolSpec(Section):
    """How every method is trained. Learning rates are per batch of `batch_size`; schedules count optimiser steps.

    Where ranks share a run, `batch_size` is of all of them together and mixing happens inside each rank's part.
    """

    epochs: PositiveInt
    batch_size: PositiveInt
    optimizer: str = "sgd"
    """Name in timm's optimiser factory, such as "sgd", "adamw", "lamb"."""
    learning_rate: PositiveFloat
    momentum: Fraction = 0.9
    nesterov: bool = False
    weight_decay: NonNegativeFloat = 0.0
    decay_norm_and_bias: bool = True
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = None
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    warmup_epochs: NonNegativeInt = 0
    milestones: tuple[PositiveInt, ...] = ()
    """For "step": epochs after which the learning rate is multiplied by `decay_factor`."""
    decay_factor: PositiveFloat = 0.1
    min_learning_rate: NonNegativeFloat = 0.0
    loss: Literal["cross_entropy", "binary_cross_entropy"] = "cross_entropy"
    """"binary_cross_entropy" is of the softmax outputs against the label, as in the Manifold Mixup code."""
    label_smoothing: Fraction = 0.0
    clip_grad_norm: PositiveFloat | None = None
    accumulation: PositiveInt = 1
    """Micro-batches per optimiser step; mixing happens inside each micro-batch of batch_size / accumulation."""
    ema_decay: Fraction = 0.0
    """Decay of the moving average of the weights; 0 keeps none."""
    rank_weights: Literal["raw", "ema"] = "raw"
    """Which weights are evaluated and ranked."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = False
    compile: Literal["none", "aot_eager", "default", "reduce-overhead", "max-autotune"] = "none"
    deterministic: bool = False
    evaluate_every: PositiveInt = 1
    """Epochs between test evaluations; the last epoch is always evaluated."""
    world_size: PositiveInt = 1
    """Ranks that share a run: each takes its part of every batch, and gradients are those of the whole batch."""
    sync_batchnorm: Annotated[bool, Field(json_schema_extra=NEUTRAL)] = False
    """The backbone's BatchNorms normalise by the images of all ranks, not by each rank's own. Needs GPUs."""
    trained_elsewhere: Annotated[bool, Field(json_schema_extra=NEUTRAL)] = False
    """The network comes from a checkpoint file; the other fields then say nothing about how it was trained."""
    compute_budget: Annotated[str, Field(json_schema_extra=NEUTRAL)] = ""
    """Where epochs are fitted to equal compute: the machine and the cost table. Written by a suite's `compute` key."""
    exceptions: tuple[ExceptionSpec, ...] = ()
    """In a run's spec only those of its own method."""

    @model_validator(mode="after")
    def _possible(self) -> ProtocolSpec:
        if self.batch_size % self.accumulation:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of accumulation {self.accumulation}")
        if self.world_size > 1 and (images := self.batch_size // self.accumulation) < 2 * self.world_size:
            what = f"batch_size {self.batch_size}" if self.accumulation == 1 else f"a micro-batch of {images} images"
            raise ValueError(f"{what} leaves less than 2 images to a rank of world_size {self.world_size}")
        if self.sync_batchnorm and self.world_size == 1:
            raise ValueError("sync_batchnorm: true needs world_size above 1")
        if self.rank_weights == "ema" and self.ema_decay == 0:
            raise ValueError("rank_weights: ema needs ema_decay above 0")
        if self.schedule == "step" and not self.milestones:
            raise ValueError("schedule: step needs milestones")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("milestones must increase")
        for exception in self.exceptions:
            for key in exception.set:
                if key not in type(self).model_fields or key == "exceptions":
                    raise ValueError(f"exceptions: '{key}' is not a protocol key")
        if self.warmup_epochs >= self.epochs and self.warmup_epochs > 0:
            raise ValueError(f"warmup_epochs {self.warmup_epochs} leaves nothing of {self.epochs} epochs")
        return self

    @cached_property
    def with_exceptions(self) -> ProtocolSpec:
        """The settings with all exceptions applied; made once, since all seeds of a row share a protocol."""
        changes = {key: value for exception in self.exceptions for key, value in exception.set.items()}
        return ProtocolSpec.model_validate({**self.model_dump(), **changes})

    @cached_property
    def common_text(self) -> str:
        """`hashed_text` without the exceptions: what all methods of a cell share."""
        plain = self.hashed()
        del plain["exceptions"]
        return canonical_json(plain)


class MethodSpec(Section):
    """An implementation (file stem under methods/) with all its parameters, defaults filled in."""

    implementation: str
    parameters: dict[str, Scalar] = Field(default_factory=dict)
    neutral: Annotated[dict[str, Scalar], Field(json_schema_extra=UNHASHED)] = Field(default_factory=dict)
    """Defaults of parameters added later: such a parameter is hashed only when it differs from this."""

    def hashed(self) -> dict[str, Any]:
        """The hashed fields as plain JSON values, without parameters at their neutral default."""
        plain = super().hashed()
        parameters = plain["parameters"]
        for name, default in self.neutral.items():
            if parameters.get(name) == default:
                parameters.pop(name, None)
        return plain


class Labels(Section):
    """The config names that a run came from; shown in tables, never hashed."""

    data: str
    backbone: str
    protocol: str
    method: str


class Spec(Section):
    """One run, complete: equal canonical JSON means the same experiment."""

    data: DataSpec
    backbone: BackboneSpec
    protocol: ProtocolSpec
    method: MethodSpec
    seed: NonNegativeInt
    labels: Annotated[Labels, Field(json_schema_extra=UNHASHED)]

    def canonical(self) -> dict[str, Any]:
        """The hashed part as plain JSON values."""
        return {name: getattr(self, name).hashed() for name in _SECTIONS} | {"seed": self.seed}

    def with_seed(self, seed: int) -> Spec:
        """The same row of the same cell with another seed; both ids are worked out once."""
        ids = {"arm": self.arm, "cell": self.cell}
        copied = copy.copy(self)  # `model_copy` takes three times as long, and there are 100,000 of a large suite
        own = cast("dict[str, Any]", copied.__dict__)
        own.update(ids, seed=seed)
        own.pop("run_id", None)
        return copied

    @cached_property
    def run_id(self) -> str:
        """16 hex digits of the canonical JSON's hash; needs the data digest."""
        if self.data.digest is None:
            raise ValueError("a run id needs data.digest")
        return _digest({name: getattr(self, name).hashed_text for name in _SECTIONS} | {"seed": str(self.seed)})

    @property
    def effective_protocol(self) -> ProtocolSpec:
        """The protocol with this method's exceptions applied."""
        return self.protocol.with_exceptions if self.protocol.exceptions else self.protocol

    @cached_property
    def cell(self) -> str:
        """Id of what is compared within one table: the same as run_id but for method, its exceptions, and seed."""
        texts = {"backbone": self.backbone.hashed_text, "data": self.data.hashed_text}
        return _digest({**texts, "protocol": self.protocol.common_text})

    @cached_property
    def arm(self) -> str:
        """Id of a table row: the same as run_id but for the seed."""
        return _digest({name: getattr(self, name).hashed_text for name in _SECTIONS})


_SECTIONS = ("backbone", "data", "method", "protocol")
"""In the order in which canonical JSON has them; the seed comes last."""


def _digest(texts: dict[str, str]) -> str:
    """Hash of the canonical JSON of an object, from that of its values in the order of their names."""
    whole = "{" + ",".join(f'"{name}":{text}' for name, text in texts.items()) + "}"
    return hashlib.blake2b(whole.encode(), digest_size=8).hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces and no NaN: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _hashed(section: Section) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        extra = cast("JsonDict | None", info.json_schema_extra)
        marks: JsonDict = extra or {}
        if marks.get("hashed") is False or (
            marks.get("neutral") and value == info.get_default(call_default_factory=True)
        ):
            continue
        plain[name] = _plain(value)
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.hashed()
    if isinstance(value, tuple | list):
        return [_plain(item) for item in cast("tuple[Any, ...] | list[Any]", value)]
    if isinstance(value, dict):
        return {str(key): _plain(_untyped(item)) for key, item in cast("dict[Any, Any]", value).items()}
    return value


def _untyped(value: Any) -> Any:
    """Values of free-form options have no type that makes 1 and 1.0 the same, so it is done here."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
