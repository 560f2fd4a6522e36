"""The contract suite finds what it is there for: methods that break one promise each, and the check that catches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import test_contract
import torch
from contract_cells import TASK, Cell, make_cell
from test_contract_compiled import assert_compiled_equals_eager
from torch import Tensor, nn

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, Normalise, Task
from methods.ops.keys import Key


class GlobalRandomness(Method):
    """Noise from torch's global generator."""

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        noisy = batch.views[0] + 0.1 * torch.randn_like(batch.views[0])
        return super().loss(backbone, batch._replace(views=(noisy,)), draws)


class UnkeyedDraw(Method):
    """A draw that does not come from its key."""

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        return Draws("", {"lam": torch.tensor(np.random.default_rng().random())})


class InPlace(Method):
    """Changes the batch that it was given."""

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        batch.views[0].mul_(0.5)
        return super().loss(backbone, batch, draws)


class InPlaceViews(Method):
    """Changes the images that it was given."""

    def views(self, images: Tensor, normalise: Normalise, draws: Draws) -> tuple[Tensor, ...]:
        return (normalise(images.bitwise_not_()),)


class Own(Method):
    """Adds a scale of its own to the loss."""

    scale: Tensor

    def setup(self, backbone: Backbone, task: Task) -> None:
        super().setup(backbone, task)
        self.scale = nn.Parameter(torch.ones(()))


class UnusedParameter(Own):
    """A parameter that gets no gradient."""


class LeftOut(Own):
    """A parameter that the optimiser is not told about."""

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        loss = super().loss(backbone, batch, draws)
        return Loss(self.scale * loss.total, loss.parts)

    def param_groups(self) -> list[dict[str, object]]:
        return []


class Forgetful(Method):
    """State that its state_dict does not have."""

    factor: Tensor

    def setup(self, backbone: Backbone, task: Task) -> None:
        super().setup(backbone, task)
        self.register_buffer("factor", torch.ones(()), persistent=False)

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        loss = super().loss(backbone, batch, draws)
        return Loss(self.factor * loss.total, loss.parts)


class HalfOverflow(Method):
    """Overflows under autocast only: float64 holds what bfloat16 does not."""

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        logits = backbone(batch.views[0])
        large = logits.double() if logits.dtype == torch.float32 else logits
        total = (large * 1e30 * 1e30 / 1e60).float()
        return Loss(self.task.criterion(total, batch.labels).mean(), {})


class AttachedPart(Method):
    """Reports a part that keeps the graph alive."""

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        loss = super().loss(backbone, batch, draws)
        return Loss(loss.total, {"total": loss.total})


class Meddling(Method):
    """Changes the backbone after the step."""

    def after_step(self, backbone: Backbone, progress: float) -> None:
        with torch.no_grad():
            next(iter(backbone.parameters())).mul_(progress)


class GuideWaits(Method):
    """Waits for the device while guiding."""

    def guide(self, backbone: Backbone, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        return {"scale": torch.full((), batch.views[0].mean().item())}


class GuideTrains(Method):
    """Leaves gradients behind while guiding."""

    def guide(self, backbone: Backbone, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        with backbone.probe():
            backbone(batch.views[0]).sum().backward()
        return {}


class KeepsSilent(Method):
    """Mixes and does not tell how much."""

    mixes = "input"


class HostSync(Method):
    """Waits for the device inside the loss."""

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        loss = super().loss(backbone, batch, draws)
        return Loss(loss.total * (2.0 if loss.total.item() > 100 else 1.0), loss.parts)


FAULTS: list[tuple[type[Method], Callable[[Cell], None]]] = [
    (GlobalRandomness, test_contract.test_same_key_same_bits),
    (GlobalRandomness, test_contract.test_global_random_states_are_untouched),
    (UnkeyedDraw, test_contract.test_same_key_same_bits),
    (InPlace, test_contract.test_batch_and_draws_are_not_changed),
    (InPlaceViews, test_contract.test_batch_and_draws_are_not_changed),
    (UnusedParameter, test_contract.test_loss_is_finite_and_every_branch_trains_everything),
    (AttachedPart, test_contract.test_loss_is_finite_and_every_branch_trains_everything),
    (KeepsSilent, test_contract.test_loss_is_finite_and_every_branch_trains_everything),
    (GuideWaits, test_contract.test_guide_leaves_the_network_alone_and_never_waits_for_the_device),
    (GuideTrains, test_contract.test_guide_leaves_the_network_alone_and_never_waits_for_the_device),
    (LeftOut, test_contract.test_own_parameters_are_in_the_optimiser_once),
    (Forgetful, test_contract.test_state_dict_carries_a_method_over),
    (HalfOverflow, test_contract.test_bfloat16_autocast_stays_finite),
    (Meddling, test_contract.test_after_step_leaves_the_backbone_alone),
]


def faulty(kind: type[Method]) -> Cell:
    sound = make_cell("erm", "test_vit")
    cell = replace(sound, method=kind())
    cell.method.setup(cell.backbone, TASK)
    return cell


@pytest.mark.parametrize(("kind", "check"), FAULTS, ids=[f"{kind.__name__}-{check.__name__}" for kind, check in FAULTS])
def test_a_broken_promise_is_caught(
    kind: type[Method], check: Callable[[Cell], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_contract, "make_method", lambda _arm: kind())
    check(make_cell("erm", "test_vit"))
    with pytest.raises(AssertionError):
        check(faulty(kind))


def test_a_host_sync_breaks_the_graph_and_is_caught() -> None:
    with pytest.raises(torch._dynamo.exc.TorchDynamoException):
        assert_compiled_equals_eager(faulty(HostSync), "", "aot_eager")
