"""The trainer on real digits: resume, accumulation, averages, divergence, precision."""

from __future__ import annotations

import math

import pytest
import torch

from bench.data.open import open_data
from bench.run.build import build_method
from bench.spec import BackboneSpec, DataSpec, Labels, MethodSpec, ProtocolSpec, Spec
from bench.train.checkpoint import load_checkpoint, save_checkpoint
from bench.train.means import RunningMeans
from bench.train.training import Diverged, Skipped, Training

CPU = torch.device("cpu")
DATA = DataSpec(source="digits", resolution=32, channels=1, mean=(0.3,), std=(0.38,), train_per_class=3, digest=None)


def make_spec(implementation: str = "erm", parameters: dict | None = None, **protocol) -> Spec:
    return Spec(
        data=DATA,
        backbone=BackboneSpec(name="test_resnet", dropout=0.1),
        protocol=ProtocolSpec(**{"epochs": 2, "batch_size": 10, "learning_rate": 0.01, "optimizer": "adamw", **protocol}),
        method=MethodSpec(implementation=implementation, parameters=parameters or {}),
        seed=3,
        labels=Labels(data="d", backbone="b", protocol="p", method=implementation),
    )  # fmt: skip


@pytest.fixture(scope="module")
def splits():
    return open_data(DATA, CPU)


def make(splits, *arguments, **protocol) -> Training:
    spec = make_spec(*arguments, **protocol)
    return Training(spec, build_method(spec.method), splits, CPU)


def weights(training: Training) -> dict[str, torch.Tensor]:
    state = training.state_dict()
    flat = {f"backbone.{k}": v for k, v in state["backbone"].items()}
    flat |= {f"method.{k}": v for k, v in state["method"].items()}
    flat |= {f"average.{k}": v for k, v in (state["average"] or {}).items()}
    return {name: tensor.clone() for name, tensor in flat.items()}


class StopHere(Exception):
    pass


@pytest.mark.parametrize(
    ("implementation", "parameters", "protocol", "stop_after"),
    [
        ("erm", {}, {"ema_decay": 0.9, "rank_weights": "ema"}, 2),
        ("erm", {}, {"optimizer": "sgd"}, 3),
        ("augmix", {}, {"optimizer": "sgd"}, 4),
        ("alignmix", {"stage": 1, "decoder": True}, {"accumulation": 2}, 4),
        ("manifold_mixup", {}, {"precision": "bf16", "clip_grad_norm": 1.0}, 5),
    ],
)
def test_a_resumed_run_gives_the_same_bits(splits, tmp_path, implementation, parameters, protocol, stop_after):
    """Stopped inside the first epoch, at its end, and inside the second."""
    whole = make(splits, implementation, parameters, **protocol)
    losses = [whole.run_epoch(), whole.run_epoch()]
    stopped = make(splits, implementation, parameters, **protocol)
    steps = 0

    def stop() -> None:
        nonlocal steps
        steps += 1
        if steps == stop_after:
            save_checkpoint(tmp_path / "checkpoint.pt", stopped.state_dict())
            raise StopHere

    with pytest.raises(StopHere):
        for _ in range(2):
            stopped.run_epoch(stop)
    resumed = make(splits, implementation, parameters, **protocol)
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    assert state is not None
    resumed.load_state_dict(state)
    continued = [resumed.run_epoch() for _ in range(2 - resumed.epoch)]
    assert continued[-1] == losses[-1]
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(resumed)[name]), name


def test_all_methods_start_from_the_same_weights_and_see_the_same_order(splits):
    erm, mixup = make(splits, "erm"), make(splits, "mixup")
    for name, tensor in erm.backbone.state_dict().items():
        assert torch.equal(tensor, mixup.backbone.state_dict()[name]), name
    for a, b in zip(erm.batches(0), mixup.batches(0), strict=True):
        assert torch.equal(a[0][0], b[0][0])
        assert torch.equal(a[0][1], b[0][1])


def test_accumulated_gradients_are_the_mean_over_micro_batches(splits):
    """ERM without BatchNorm's batch dependence (eval mode) has the same gradient whole and in two halves."""
    gradients = []
    for parts in (1, 2):
        training = make(splits, accumulation=parts)
        training.step_module.eval()
        for _ in training.forward_backward(0, 0, next(training.batches(0))):
            pass
        gradients.append([p.grad.clone() for p in training.backbone.parameters()])
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, atol=1e-6, rtol=1e-4)


def test_moving_average_follows_its_formula(splits):
    training = make(splits, ema_decay=0.75)
    name = next(iter(dict(training.backbone.named_parameters())))
    expected = training.backbone.get_parameter(name).detach().clone()

    def follow() -> None:
        expected.mul_(0.75).add_(training.backbone.get_parameter(name).detach(), alpha=0.25)

    training.run_epoch(follow)
    assert training.average is not None
    assert torch.allclose(training.average.module.get_parameter(name), expected, atol=1e-6)
    assert training.ranked is training.backbone


def test_a_loss_that_is_not_finite_ends_the_run(splits):
    training = make(splits, optimizer="sgd", learning_rate=1e30)
    with pytest.raises(Diverged, match="epoch"):
        for _ in range(2):
            training.run_epoch()


def test_means_do_not_keep_the_memory_that_they_were_given():
    means, value = RunningMeans(), torch.tensor(1.0)
    means.add({"total": value})
    value.fill_(100.0)
    means.add({"total": torch.tensor(3.0)})
    assert means.values() == {"total": 2.0}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_clipping_bounds_the_update(splits, precision):
    """By the true gradient's length: in fp16 the gradients are so many times as long until they are unscaled."""
    training = make(splits, optimizer="sgd", momentum=0.0, learning_rate=1.0, clip_grad_norm=0.001,
                    schedule="constant", precision=precision)  # fmt: skip
    scaler = training.precision.scaler
    if precision == "fp16":  # small enough for no overflow, at which a step is left out
        scaler.load_state_dict({**scaler.state_dict(), "scale": 64.0})
    before = torch.cat([p.detach().flatten().clone() for p in training.backbone.parameters()])
    for _ in training.forward_backward(0, 0, next(training.batches(0))):
        pass
    training.update(0, 0)
    after = torch.cat([p.detach().flatten() for p in training.backbone.parameters()])
    assert float((after - before).norm()) == pytest.approx(0.001, rel=0.01)


def test_the_state_of_the_loss_scaler_is_kept(splits, tmp_path):
    """It halves its scale at an overflow and counts the steps since then; few steps do neither, so it is set here."""
    kept, resumed = make(splits, precision="fp16"), make(splits, precision="fp16")
    changed = {**kept.precision.scaler.state_dict(), "scale": 512.0, "_growth_tracker": 7}
    kept.precision.scaler.load_state_dict(changed)
    save_checkpoint(tmp_path / "checkpoint.pt", kept.state_dict())
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    assert state is not None
    resumed.load_state_dict(state)
    assert resumed.precision.scaler.state_dict() == changed


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_trains(splits, precision):
    training = make(splits, "mixup", precision=precision, channels_last=True)
    first = training.run_epoch()
    assert math.isfinite(first.loss)
    assert all(p.dtype == torch.float32 for p in training.backbone.parameters())


def test_a_method_that_cannot_run_here_is_skipped_with_its_reason(splits):
    with pytest.raises(Skipped, match="1x1"):
        make(splits, "alignmix")


def test_compiled_training_equals_eager_training(splits):
    runs = [make(splits, "mixup", compile=mode, ema_decay=0.9) for mode in ("none", "aot_eager")]
    losses = [training.run_epoch().loss for training in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_checkpoint_that_was_cut_or_altered_is_not_loaded(splits, tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, make(splits).state_dict())
    content = path.read_bytes()
    assert load_checkpoint(path) is not None
    for cut in (0, 10, 60, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        assert load_checkpoint(path) is None
    for position in (3, 30, 100, len(content) // 3, len(content) - 5):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        assert load_checkpoint(path) is None
    path.unlink()
    assert load_checkpoint(path) is None
