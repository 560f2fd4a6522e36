"""`mixbench check` on methods: the shipped ones keep the contract, planted faults break it by name."""

from __future__ import annotations

import pytest
import torch

from bench.config.catalogue import method_facts, method_names
from bench.run import contract
from bench.run.contract import contract_problems
from bench.spec import MethodSpec
from methods.api import Draws, Loss, Method


@pytest.mark.parametrize("name", method_names())
def test_shipped_methods_keep_the_contract(name):
    facts = method_facts(name)
    assert contract_problems(MethodSpec(implementation=name, parameters=facts.parameters().model_dump())) == []


class GlobalRandom(Method):
    def loss(self, backbone, batch, draws):
        return Loss(super().loss(backbone, batch, draws).total * (1 + 0 * torch.rand(())), {})


class Forgetful(Method):
    count = 0

    def draw(self, key, shape):
        Forgetful.count += 1
        return Draws("", {"lam": torch.tensor(float(Forgetful.count))})


class ChangesBatch(Method):
    def loss(self, backbone, batch, draws):
        loss = super().loss(backbone, batch, draws)
        with torch.no_grad():
            batch.views[0].mul_(0.5)
        return loss


class ChangesImages(Method):
    def views(self, images, normalise, draws):
        view = normalise(images)
        images.zero_()
        return (view,)


class NotFinite(Method):
    def loss(self, backbone, batch, draws):
        return Loss(super().loss(backbone, batch, draws).total / 0, {})


class Unused(Method):
    def __init__(self):
        super().__init__()
        self.part = torch.nn.Linear(2, 2)


class Detached(Method):
    def loss(self, backbone, batch, draws):
        return Loss(backbone(batch.views[0]).detach().mean() + self.weight(), {})

    def weight(self):
        return torch.zeros((), requires_grad=True)


FAULTS = {
    GlobalRandom: "global random state",
    Forgetful: "other numbers for the same key",
    ChangesBatch: "changed its batch",
    ChangesImages: "changed the images",
    NotFinite: "not one finite number",
    Unused: "of the method",
    Detached: "of the backbone",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_named(fault, monkeypatch):
    monkeypatch.setattr(contract, "build_method", lambda spec: fault())
    problems = contract_problems(MethodSpec(implementation="erm"))
    assert any(FAULTS[fault] in problem for problem in problems), problems
