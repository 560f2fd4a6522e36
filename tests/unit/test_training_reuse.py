"""A worker's compiled step: kept for the next seed, in the state of a fresh one, never for another experiment."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from bench.data.open import open_data
from bench.evals.forward import evaluation_mode
from bench.run.build import build_method
from bench.spec import BackboneSpec, DataSpec, Labels, MethodSpec, ProtocolSpec, Spec
from bench.train.fresh_state import pour
from bench.train.reuse import StepCache
from bench.train.settings import library_settings
from bench.train.step_key import OUTSIDE_THE_STEP, step_key
from bench.train.training import Training

CPU = torch.device("cpu")
DATA = DataSpec(source="digits", resolution=32, channels=1, mean=(0.3,), std=(0.38,), train_per_class=2, digest=None)


def spec_of(seed: int = 0, implementation: str = "mixup", parameters: dict | None = None, **protocol) -> Spec:
    given = {"epochs": 2, "batch_size": 10, "learning_rate": 0.01, "optimizer": "adamw", "compile": "aot_eager"}
    return Spec(
        data=DATA,
        backbone=BackboneSpec(name="test_resnet", dropout=0.1),
        protocol=ProtocolSpec(**{**given, **protocol}),
        method=MethodSpec(implementation=implementation, parameters=parameters or {}),
        seed=seed,
        labels=Labels(data="d", backbone="b", protocol="p", method=implementation),
    )


def train(spec: Spec, splits, steps: StepCache) -> tuple[Training, list[float], dict[str, Tensor], int]:
    """A whole run; with its epochs' losses, a copy of its final state and the number of graphs that were compiled."""
    before = counters["stats"]["unique_graphs"]
    with library_settings(spec.effective_protocol):
        training = Training(spec, build_method(spec.method), splits, CPU, steps)
        losses = [training.run_epoch().loss for _ in range(2)]
    state = {name: tensor.clone() for name, tensor in training.step_module.state_dict().items()}
    return training, losses, state, counters["stats"]["unique_graphs"] - before


def test_a_second_seed_compiles_nothing_and_gives_the_digits_of_a_fresh_process():
    """With a decoder, so that the method has weights too; what is kept was trained, evaluated and averaged before."""
    if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        torch.backends.cuda.matmul.fp32_precision = "none"  # as in a fresh process: nobody has set it
    splits = open_data(DATA, CPU)
    steps = StepCache()
    case = {"implementation": "alignmix", "parameters": {"stage": 1, "decoder": True, "input_share": 0.0,
            "direction": "to_first", "iterations": 5}}  # fmt: skip
    first, _, _, compiled = train(spec_of(1, **case, ema_decay=0.9), splits, steps)
    assert compiled == 1
    with evaluation_mode(first.backbone, CPU):
        first.step_module.eval()
    second, losses, state, compiled = train(spec_of(2, **case, learning_rate=0.02), splits, steps)
    assert compiled == 0
    assert second.backbone is first.backbone
    fresh, expected, expected_state, compiled = train(spec_of(2, **case, learning_rate=0.02), splits, StepCache())
    assert compiled == 1
    assert fresh.backbone is not first.backbone
    assert losses == expected
    for name, tensor in expected_state.items():
        assert torch.equal(state[name], tensor), name


def test_only_one_step_is_kept_and_only_compiled_ones():
    splits = open_data(DATA, CPU)
    steps = StepCache()

    def build(spec: Spec) -> Training:
        return Training(spec, build_method(spec.method), splits, CPU, steps)

    mixup = build(spec_of(0))
    assert build(spec_of(1)).backbone is mixup.backbone
    assert build(spec_of(1, "erm", compile="none")).backbone is not mixup.backbone
    assert build(spec_of(2)).backbone is mixup.backbone
    smoothed = build(spec_of(2, label_smoothing=0.1))
    assert smoothed.backbone is not mixup.backbone
    mixup = build(spec_of(2))
    assert mixup.backbone is not smoothed.backbone
    assert build(spec_of(2, "erm")).backbone is not mixup.backbone
    assert build(spec_of(2)).backbone is not mixup.backbone


def test_the_key_holds_all_that_a_step_is_made_of():
    """Only keys of the protocol that are named as outside the step may differ."""
    base = spec_of()
    key = step_key(base, 10, CPU)
    assert step_key(spec_of(seed=4), 10, CPU) == key
    assert step_key(base, 11, CPU) != key
    assert step_key(base, 10, torch.device("cuda", 0)) != key
    changes = {
        "batch_size": 20, "loss": "binary_cross_entropy", "label_smoothing": 0.1, "accumulation": 2,
        "precision": "bf16", "channels_last": True, "compile": "default", "deterministic": True,
        "world_size": 2,
    }  # fmt: skip
    for name, value in changes.items():
        assert step_key(spec_of(**{name: value}), 10, CPU) != key, name
    assert set(ProtocolSpec.model_fields) == OUTSIDE_THE_STEP | set(changes) | {"sync_batchnorm"}
    assert step_key(spec_of(optimizer="sgd", epochs=7, learning_rate=0.3, ema_decay=0.5), 10, CPU) == key
    assert step_key(spec_of(parameters={"alpha": 0.5}), 10, CPU) != key
    other_data = base.model_copy(update={"data": DATA.model_copy(update={"resolution": 16})})
    assert step_key(other_data, 10, CPU) != key
    dropout = base.model_copy(update={"backbone": BackboneSpec(name="test_resnet")})
    assert step_key(dropout, 10, CPU) != key


class Remembering(nn.Module):
    """A module with state of many kinds."""

    def __init__(self, fill: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((2,), fill))
        self.register_buffer("history", torch.full((3,), fill), persistent=False)
        self.inner = nn.BatchNorm1d(2)
        self.count = 0
        self.seen: list[int] = []
        self.function = torch.relu


def test_pour_renews_tensors_modes_and_plain_attributes_in_place():
    used, fresh = Remembering(5.0), Remembering(1.0)
    pointers = [tensor.data_ptr() for tensor in (*used.parameters(), *used.buffers())]
    used.count, used.late = 3, True
    used.seen.append(4)
    used.inner.running_mean.fill_(7.0)
    used.weight.grad = torch.ones(2)
    used.eval()
    assert pour(fresh, used, known_only=True)
    for one, other in zip((*used.parameters(), *used.buffers()), (*fresh.parameters(), *fresh.buffers()), strict=True):
        assert torch.equal(one, other)
    assert [tensor.data_ptr() for tensor in (*used.parameters(), *used.buffers())] == pointers
    assert (used.count, used.seen, used.training, used.inner.training) == (0, [], True, True)
    assert used.weight.grad is None
    assert not hasattr(used, "late")


def test_pour_refuses_what_it_cannot_renew():
    wider, frozen, grown, keeper = Remembering(), Remembering(), Remembering(), Remembering()
    wider.weight = nn.Parameter(torch.zeros(3))
    frozen.weight.requires_grad_(False)
    grown.teacher = nn.Linear(1, 1)
    for used in (wider, frozen, grown, nn.Linear(2, 2)):
        assert not pour(Remembering(), used, known_only=False)
    keeper.state = torch.Generator()
    assert not pour(Remembering(), keeper, known_only=True)
    assert pour(Remembering(), keeper, known_only=False)
