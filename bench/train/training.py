"""One run's training state and its epoch loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from bench.backbones.adapter import TimmBackbone
from bench.backbones.build import build_backbone
from bench.data.normalise import Normaliser
from bench.data.open import Splits
from bench.errors import BadInput
from bench.rng import DROPOUT, stream
from bench.spec import Spec
from bench.train.criterion import build_criterion
from bench.train.drawing import Drawing, Place, Shape
from bench.train.exchange import exchanging, means_of_all, own_means, shared_step, states_of_all
from bench.train.means import RunningMeans
from bench.train.optimizer import build_optimizer, set_learning_rate
from bench.train.rank_state import RankState
from bench.train.ranks import Part, Ranks, parts_of, rows_of
from bench.train.reuse import StepCache
from bench.train.schedule import learning_rate
from bench.train.seeding import seed_generators
from bench.train.step import CUDA_GRAPH_MODES, Precision, TrainStep, compiled_step
from bench.train.step_key import step_key
from bench.train.sync_batchnorm import synchronise_batchnorm
from methods.api import Batch, Draws, Loss, Method, Task, guided

FINITE_CHECK_STEPS = 200
"""Steps between checks for NaN; each check waits for the device."""
STEPS_DRAWN_AHEAD = 8
"""Steps whose draws are made and copied together: few copies, and no long pause between launches."""


class Diverged(Exception):
    """The loss is NaN or infinite."""


class Skipped(Exception):
    """The method says that it cannot run here, and why."""


@dataclass(frozen=True)
class EpochResult:
    """loss: mean total. parts: means of the loss's named parts. learning_rate: of the last step."""

    loss: float
    parts: dict[str, float]
    learning_rate: float


class Training:
    """Everything that a run trains with. epoch and step are the next to be done, from 0.

    steps: where a worker keeps its compiled step; given one, the run may train modules of an earlier run that were put
    into the state of fresh ones. ranks: those of the protocol's world size that this process is, by default all of
    them, one after the other. Where several processes share the run, all must take the same steps.
    """

    def __init__(
        self, spec: Spec, method: Method, splits: Splits, device: torch.device, steps: StepCache | None = None,
        ranks: Ranks | None = None,
    ) -> None:  # fmt: skip
        self.spec = spec
        self.protocol = protocol = spec.effective_protocol
        self.device = device
        self.ranks = ranks or Ranks(protocol.world_size)
        self.feed = splits.train
        self.parts = self._parts()
        data = spec.data
        classes = splits.facts.num_classes
        backbone = build_backbone(spec.backbone, classes, data.channels, data.resolution, spec.seed)
        self.memory_format = torch.channels_last if protocol.channels_last else torch.contiguous_format
        if protocol.sync_batchnorm:
            synchronise_batchnorm(backbone, self.ranks, device)
        backbone.to(device).to(memory_format=self.memory_format)
        for stage in range(len(backbone.stages)):
            backbone.mixable(stage)
        self.normalise = Normaliser(data.mean, data.std).to(device)
        shape = (data.channels, data.resolution, data.resolution)
        task = Task(classes, build_criterion(protocol, classes), shape)
        if reason := method.skip(backbone, task):
            raise Skipped(reason)
        method.setup(backbone, task)
        self.step_module = fresh = TrainStep(backbone, method.to(device))
        self.compiled: Callable[..., Loss]
        if steps is None:
            self.compiled = compiled_step(fresh, protocol.compile)
        else:
            self.step_module, self.compiled = steps.ready(step_key(spec, classes, device), fresh, protocol.compile)
        self.backbone: TimmBackbone = self.step_module.backbone
        self.method: Method = self.step_module.method
        self.rank_state = RankState(self.step_module, self.method, self.ranks)
        if self.ranks.processes > 1:
            self.compiled = shared_step(self.compiled)
        self.optimizer = build_optimizer(protocol, self.backbone.model, self.method)
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.precision = Precision(protocol, device)
        self.average = ModelEmaV3(self.backbone, decay=protocol.ema_decay) if protocol.ema_decay else None
        self.graphs = device.type == "cuda" and protocol.compile in CUDA_GRAPH_MODES
        self.steps_per_epoch = max(1, self.feed.steps(protocol.batch_size))
        self.drawing = Drawing(self.method, spec.seed, protocol.epochs, self.steps_per_epoch, device)
        self.epoch = 0
        self.step = 0
        self.means = RunningMeans()

    @property
    def ranked(self) -> nn.Module:
        """The weights that are evaluated and ranked: raw, or their moving average."""
        if self.protocol.rank_weights == "ema" and self.average is not None:
            return self.average.module
        return self.backbone

    def batches(self, epoch: int) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """The micro-batches of each step of an epoch from `self.step` on: uint8 images and labels on the device.

        Where ranks share the run: those of this process's ranks, in the order of `self.parts`.
        """
        rows = rows_of(self.parts) if self.ranks.world_size > 1 else None
        sizes = [part.stop - part.start for part in self.parts]
        for images, labels in self.feed.epoch(self.spec.seed, epoch, self.protocol.batch_size, self.step, rows):
            yield list(zip(images.split(sizes), labels.split(sizes), strict=True))

    def prepare(self, steps: list[tuple[int, int]], micro_batches: list[tuple[Tensor, Tensor]]) -> None:
        """Make the draws of several steps, (epoch, step) each, at once. micro_batches: those of a step, for their
        shapes. It changes no number; `draws` makes alone what was not prepared last."""
        shapes = [_shape(images) for images, _ in micro_batches]
        self.drawing.prepare(
            (self._place(epoch, step, part), shape)
            for epoch, step in steps
            for part, shape in zip(self.parts, shapes, strict=True)
        )

    def draws(self, epoch: int, step: int, micro: int, images: Tensor) -> Draws:
        """The method's draws of one micro-batch, by its place among a step's, on the device."""
        return self.drawing.at(self._place(epoch, step, self.parts[micro]), _shape(images))

    @torch.no_grad()
    def views(self, images: Tensor, draws: Draws) -> tuple[Tensor, ...]:
        """The method's normalised views in the protocol's memory format."""
        made = self.method.views(images, self.normalise, draws)
        return tuple(view.contiguous(memory_format=self.memory_format) for view in made)

    def loss(self, views: tuple[Tensor, ...], labels: Tensor, draws: Draws) -> Loss:
        """Guide and forward under the protocol's precision."""
        with self.precision.autocast():
            draws = guided(self.method, self.backbone, Batch(views, labels), draws)
            return self.compiled(views, labels, draws.branch, draws.tensors)

    def learning_rate(self, epoch: int, step: int) -> float:
        """The rate of one step."""
        return learning_rate(self.protocol, epoch * self.steps_per_epoch + step, self.steps_per_epoch)

    def update(self, epoch: int, step: int) -> None:
        """Clip, step the optimiser with this step's learning rate, update averages."""
        set_learning_rate(self.optimizer, self.learning_rate(epoch, step))
        scaler = self.precision.scaler
        if self.protocol.clip_grad_norm is not None:
            scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.parameters, self.protocol.clip_grad_norm)
        scaler.step(self.optimizer)
        scaler.update()
        for parameter in self.parameters:
            parameter.grad = None
        if self.average is not None:
            self.average.update(self.backbone)
        done = epoch * self.steps_per_epoch + step + 1
        self.method.after_step(self.backbone, done / (self.protocol.epochs * self.steps_per_epoch))

    def forward_backward(self, epoch: int, step: int, micro_batches: list[tuple[Tensor, Tensor]]) -> Iterator[Loss]:
        """Accumulate the gradients of one step, a micro-batch at a time; yields each micro-batch's loss."""
        last = len(micro_batches) - 1
        for micro, (part, (images, labels)) in enumerate(zip(self.parts, micro_batches, strict=True)):
            self.rank_state.begin(part.rank)
            place = self._place(epoch, step, part)
            seed_generators(stream(self.spec.seed, DROPOUT, *place).integer(), self.device)
            draws = self.draws(epoch, step, micro, images)
            views = self.views(images, draws)
            if self.graphs:
                torch.compiler.cudagraph_mark_step_begin()
            with exchanging(self.compiled, micro == last):
                loss = self.loss(views, labels, draws)
                total = loss.total if part.divisor == 1 else loss.total / part.divisor
                self.precision.scaler.scale(total).backward()
            if self.graphs and micro == 0 and last > 0:
                self._keep_gradients()
            self.method.remember(Batch(views, labels), loss.carry)
            yield loss
        if self.ranks.world_size > 1:
            self.rank_state.finish()

    def run_epoch(self, on_step: Callable[[], None] = lambda: None) -> EpochResult:
        """Train one epoch, or the rest of it after a resume. on_step is called after each step; a checkpoint made
        there continues with the next step. Diverged when the loss is not finite.
        """
        self.step_module.train()
        first = self.step
        for step, micro_batches in enumerate(self.batches(self.epoch), start=first):
            if (step - first) % STEPS_DRAWN_AHEAD == 0:
                end = min(step + STEPS_DRAWN_AHEAD, self.steps_per_epoch)
                self.prepare([(self.epoch, ahead) for ahead in range(step, end)], micro_batches)
            for part, loss in zip(self.parts, self.forward_backward(self.epoch, step, micro_batches), strict=True):
                self.means.add({"total": loss.total, **loss.parts}, part.weight)
            self.update(self.epoch, step)
            self.step = step + 1
            if step % FINITE_CHECK_STEPS == FINITE_CHECK_STEPS - 1:
                self._check_finite(step)
            on_step()
        self._check_finite(self.steps_per_epoch - 1)
        rate = self.learning_rate(self.epoch, self.steps_per_epoch - 1)
        parts = means_of_all(self.ranks, self.means)
        self.epoch, self.step, self.means = self.epoch + 1, 0, RunningMeans()
        return EpochResult(parts.pop("total"), parts, rate)

    def _keep_gradients(self) -> None:
        """Copy them out of the memory that the next replay of a CUDA graph writes to."""
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad = parameter.grad.clone()

    def _check_finite(self, step: int) -> None:
        if not math.isfinite(means_of_all(self.ranks, self.means)["total"]):
            raise Diverged(f"the training loss is not finite in epoch {self.epoch + 1}, by step {step + 1}")

    def _parts(self) -> list[Part]:
        images = min(self.protocol.batch_size, self.feed.size)
        try:
            return parts_of(self.ranks, images, self.protocol.accumulation)
        except ValueError as error:
            raise BadInput(f"protocol.world_size: {error}; the training split has {self.feed.size}") from None

    def _place(self, epoch: int, step: int, part: Part) -> Place:
        return (epoch, step, part.micro, part.rank) if self.ranks.world_size > 1 else (epoch, step, part.micro)

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs to give the same numbers as one that was never stopped.

        Where processes share the run all must call it, and each is given the state of all of them.
        """
        state = {
            "epoch": self.epoch,
            "step": self.step,
            "means": self.means.state_dict(),
            "backbone": self.backbone.state_dict(),
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.precision.scaler.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
        }
        if self.ranks.world_size > 1:
            state |= states_of_all(self.ranks, self.means, self.rank_state)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state_dict of the same spec, whatever the number of processes that made it."""
        self.backbone.load_state_dict(state["backbone"])
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.precision.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if self.ranks.world_size > 1:
            self.rank_state.load(state["ranks"], self.device)
            state = {**state, "means": own_means(self.ranks, state["processes"])}
        self.means.load_state_dict(state["means"], self.device)
        self.epoch, self.step = int(state["epoch"]), int(state["step"])


def _shape(images: Tensor) -> Shape:
    size, channels, height, width = images.shape
    return size, channels, height, width
