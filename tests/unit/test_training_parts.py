"""The trainer's small parts: seeding, running means, fused optimisers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from bench.run.build import build_method
from bench.spec import MethodSpec, ProtocolSpec
from bench.train import optimizer as optimizer_file
from bench.train.means import RunningMeans
from bench.train.optimizer import build_optimizer, fused_options
from bench.train.seeding import seed_generators

CPU = torch.device("cpu")


@pytest.mark.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def test_numbers_after_seeding_are_those_after_manual_seed(device):
    for seed in (0, 17, 2**63 - 1):
        torch.manual_seed(seed)
        expected = [torch.rand(5), torch.rand(5, device=device)]
        torch.rand(3, device=device)
        seed_generators(seed, torch.device(device))
        for values in expected:
            assert torch.equal(torch.rand(5, device=values.device), values)


def test_means_are_those_of_numpy_in_the_same_order():
    """Names come late and stay away; a resume in between changes nothing."""
    generator = np.random.default_rng(0)
    seen: dict[str, list[np.float32]] = {}
    means = RunningMeans()
    for step in range(50):
        names = ["total", *(["extra"] if step % 3 else []), *(["late"] if step > 20 else [])]
        values = {name: np.float32(generator.normal()) for name in names}
        for name, value in values.items():
            seen.setdefault(name, []).append(value)
        tensors = {name: torch.tensor(value, requires_grad=name == "total") for name, value in values.items()}
        means.add(tensors)
        if step == 30:
            state = means.state_dict()
            means.add({"total": torch.tensor(5.0)})  # what comes after a checkpoint is not in it
            means = RunningMeans()
            means.load_state_dict(state, CPU)
    expected = {name: float(np.add.accumulate(np.asarray(values))[-1]) / len(values) for name, values in seen.items()}
    assert means.values() == expected
    assert not any(total.requires_grad for total in means.state_dict()["sums"].values())


def test_means_of_low_precision_are_summed_in_float32_and_nan_shows():
    means = RunningMeans()
    for value in (256.0, 1.0, 1.0):
        means.add({"total": torch.tensor(value, dtype=torch.bfloat16)})
    assert means.values() == {"total": 86.0}
    means.add({"total": torch.tensor(math.nan)})
    assert math.isnan(means.values()["total"])


@pytest.mark.parametrize(
    ("name", "fused"),
    [("sgd", True), ("momentum", True), ("adam", True), ("adamw", True), ("lamb", False), ("nadamw", False)],
)
def test_which_optimisers_are_fused(name, fused):
    assert fused_options(name, torch.device("cuda")) == ({"fused": True} if fused else {})
    assert fused_options(name, CPU) == {}


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw"])
def test_a_fused_optimiser_takes_the_same_steps(monkeypatch, name):
    """Through the same factory, with groups, clipping and weights in channels_last, whose gradients come in another
    memory format: fused kernels rely on autograd to give them that of the weights."""
    protocol = ProtocolSpec(
        epochs=1, batch_size=4, learning_rate=0.01, optimizer=name, weight_decay=0.1, nesterov=name == "sgd",
        decay_norm_and_bias=False,
    )  # fmt: skip
    ended = []
    for device in ("cpu", "cuda"):
        monkeypatch.setattr(optimizer_file, "fused_options", lambda name, _, device=device: fused_options(
            name, torch.device(device)))  # fmt: skip
        generator = torch.Generator().manual_seed(1)
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8))
        for parameter in model.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        model.to(memory_format=torch.channels_last)
        optimizer = build_optimizer(protocol, model, build_method(MethodSpec(implementation="erm")))
        assert optimizer.defaults["fused"] is (True if device == "cuda" else None)
        for _ in range(20):
            for parameter in model.parameters():
                parameter.grad = None
                (parameter * torch.randn(parameter.shape, generator=generator)).sum().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            optimizer.step()
        ended.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    torch.testing.assert_close(ended[1], ended[0], rtol=1e-5, atol=1e-6)
