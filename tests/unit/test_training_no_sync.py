"""No step waits for the device: seen on the CPU by its operations, on CUDA by torch's own check."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from bench.config.catalogue import method_names
from bench.data.open import open_data
from bench.run.build import build_method
from bench.spec import BackboneSpec, DataSpec, Labels, MethodSpec, ProtocolSpec, Spec
from bench.train.training import Skipped, Training

DATA = DataSpec(source="digits", resolution=64, channels=3, mean=(0.3,) * 3, std=(0.38,) * 3, train_per_class=3,
                crop="pad", crop_padding=2, flip=True)  # fmt: skip
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique", "unique", "bincount",
           "lift_fresh")  # fmt: skip
"""Operations whose result, or its shape, comes to the host; the last is `torch.tensor`, which copies from the host and
waits for the copy."""
TO_HOST = ("cpu", "tolist", "numpy", "__array__")
BACKBONES = ("test_resnet", "test_vit")
"""Each method is looked at on the first of them that it runs on."""


class Waits(Exception):
    """A step would have waited for a GPU."""


class NoWaiting(TorchDispatchMode):
    """Operations that a GPU would have to answer raise Waits."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masks = [each for each in args[1] if each is not None] if name in ("index", "index_put", "index_put_") else []
        if name.startswith(WAITING) or any(mask.dtype == torch.bool for mask in masks):
            raise Waits(name)
        return func(*args, **(kwargs or {}))


@contextmanager
def forbidden() -> Iterator[None]:
    """Inside it, Tensor methods that copy to the host raise Waits too. one_hot looks at its labels on a CPU only."""

    def raising(name: str) -> Any:
        def method(*_: Any, **__: Any) -> Any:
            raise Waits(name)

        return method

    with pytest.MonkeyPatch.context() as patch, NoWaiting():
        for name in TO_HOST:
            patch.setattr(torch.Tensor, name, raising(name))
        patch.setattr(F, "one_hot", lambda labels, num_classes: (labels[..., None] == torch.arange(num_classes)).long())
        yield


def make(implementation: str, device: str, **protocol: Any) -> Training:
    reasons = []
    for backbone in BACKBONES:
        spec = Spec(
            data=DATA,
            backbone=BackboneSpec(name=backbone, dropout=0.1),
            protocol=ProtocolSpec(epochs=2, batch_size=6, learning_rate=0.01, clip_grad_norm=1.0, **protocol),
            method=MethodSpec(implementation=implementation),
            seed=1,
            labels=Labels(data="d", backbone="b", protocol="p", method=implementation),
        )
        try:
            return Training(spec, build_method(spec.method), open_data(DATA, device), torch.device(device))
        except Skipped as reason:
            reasons.append(str(reason))
    raise AssertionError(f"{implementation} runs on none of the backbones: {reasons}")


def take_step(training: Training, step: int, micro_batches: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """One step as in `Training.run_epoch`."""
    for loss in training.forward_backward(0, step, micro_batches):
        training.means.add({"total": loss.total, **loss.parts})
    training.update(0, step)


@pytest.mark.parametrize("implementation", method_names())
def test_no_step_of_a_method_waits(implementation):
    """Draws are made on the host and may do what they like, so they are prepared before. SGD, since AdamW's plain form
    reads its step count, which lies on the host there."""
    training = make(implementation, "cpu", optimizer="sgd", ema_decay=0.9, accumulation=2)
    training.step_module.train()
    steps = list(training.batches(0))
    assert len(steps) == 5
    training.prepare([(0, step) for step in range(5)], steps[0])
    with forbidden():
        for step, micro_batches in enumerate(steps):
            take_step(training, step, micro_batches)
    assert training.means.values()["total"] > 0


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: float(x.sum()),
        lambda x: bool(x.sum() > 0),
        lambda x: x.sum().item(),
        lambda x: x.cpu(),
        lambda x: x.tolist(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.where(x > 0),
        lambda x: x.detach().numpy(),
        lambda x: torch.equal(x, x),
        lambda x: x.unique(),
        lambda x: x * torch.tensor([1.0, 2.0, 3.0], device=x.device),
        lambda x: x + x.new_tensor([1.0, 2.0, 3.0]),
        lambda x: x.sum().backward() if x.requires_grad_().register_hook(lambda g: g.sum().item()) else None,
    ],
)
def test_a_wait_would_be_seen(wait):
    with pytest.raises(Waits), forbidden():
        wait(torch.ones(3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch's check of waits is for CUDA")
@pytest.mark.parametrize(
    ("implementation", "precision"), [("erm", "fp32"), ("erm", "fp16"), *((name, "bf16") for name in method_names())]
)
def test_no_step_on_cuda_waits(implementation, precision):
    """With the copies of draws and batches, AdamW and the loss scaler; the first step may set things up."""
    training = make(implementation, "cuda", optimizer="adamw", precision=precision, channels_last=True)
    training.step_module.train()
    batches = enumerate(training.batches(0))
    take_step(training, *next(batches))
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step, micro_batches in batches:
            training.prepare([(0, step)], micro_batches)
            take_step(training, step, micro_batches)
    finally:
        torch.cuda.set_sync_debug_mode(mode)
