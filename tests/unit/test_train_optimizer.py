"""What timm's factory is asked for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.errors import BadInput
from bench.spec import ProtocolSpec
from bench.train.optimizer import build_optimizer, set_learning_rate
from methods.api import Method


class WithOwnPart(Method):
    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Linear(2, 2)

    def param_groups(self):
        return [{"params": list(self.part.parameters()), "weight_decay": 0.0, "lr_scale": 0.5}]


def model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


def build(method: Method | None = None, **changes) -> torch.optim.Optimizer:
    spec = ProtocolSpec(**{"epochs": 1, "batch_size": 2, "learning_rate": 0.1, "weight_decay": 0.01, **changes})
    return build_optimizer(spec, model(), method or Method())


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_nesterov_only_when_asked(nesterov):
    optimizer = build(optimizer="sgd", nesterov=nesterov, momentum=0.8)
    assert isinstance(optimizer, torch.optim.SGD)
    group = optimizer.param_groups[0]
    assert (group["nesterov"], group["momentum"], group["weight_decay"]) == (nesterov, 0.8, 0.01)


def test_decay_of_norms_and_biases_can_be_left_out():
    everything = build(optimizer="adamw")
    assert [g["weight_decay"] for g in everything.param_groups] == [0.01]
    spared = build(optimizer="adamw", decay_norm_and_bias=False)
    decays = {tuple(p.shape): g["weight_decay"] for g in spared.param_groups for p in g["params"]}
    assert decays[(4, 3, 3, 3)] == decays[(2, 4)] == 0.01
    assert decays[(4,)] == decays[(2,)] == 0.0


def test_a_methods_parts_join_with_their_own_rate_and_decay():
    optimizer = build(WithOwnPart())
    set_learning_rate(optimizer, 0.2)
    assert [(g["lr"], g["weight_decay"]) for g in optimizer.param_groups] == [(0.2, 0.01), (0.1, 0.0)]
    everything = sum(p.numel() for g in optimizer.param_groups for p in g["params"])
    assert everything == sum(p.numel() for p in model().parameters()) + 6


def test_layer_decay_scales_the_rate_of_earlier_layers():
    import timm

    spec = ProtocolSpec(epochs=1, batch_size=2, learning_rate=0.1, layer_decay=0.5, optimizer="adamw")
    net = timm.create_model("test_vit", num_classes=3)
    optimizer = build_optimizer(spec, net, Method())
    set_learning_rate(optimizer, 0.1)
    rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    assert rates[id(net.head.weight)] == pytest.approx(0.1)
    assert rates[id(net.patch_embed.proj.weight)] < rates[id(net.blocks[-1].mlp.fc1.weight)] < 0.1


def test_unknown_optimiser_names_the_nearest():
    with pytest.raises(BadInput, match="did you mean 'adamw'"):
        build(optimizer="adamwx")
