"""Learning rates against torch's own schedulers."""

from __future__ import annotations

import pytest
import torch

from bench.spec import ProtocolSpec
from bench.train.schedule import learning_rate

STEPS = 7


def protocol(**changes) -> ProtocolSpec:
    return ProtocolSpec(**{"epochs": 6, "batch_size": 10, "learning_rate": 0.3, **changes})


def rates(spec: ProtocolSpec) -> list[float]:
    return [learning_rate(spec, step, STEPS) for step in range(spec.epochs * STEPS)]


def torch_rates(make, count: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = make(optimizer)
    found = []
    for _ in range(count):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_cosine_equals_torch():
    expected = torch_rates(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 6 * STEPS, eta_min=0.01), 6 * STEPS)
    assert rates(protocol(min_learning_rate=0.01)) == pytest.approx(expected, rel=1e-9)


def test_step_equals_torch():
    spec = protocol(schedule="step", milestones=(2, 5), decay_factor=0.2)
    expected = torch_rates(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [2 * STEPS, 5 * STEPS], 0.2), 6 * STEPS)
    assert rates(spec) == pytest.approx(expected, rel=1e-12)


def test_constant_stays():
    assert set(rates(protocol(schedule="constant"))) == {0.3}


def test_warm_up_rises_in_equal_steps_to_the_full_rate():
    found = rates(protocol(warmup_epochs=2))
    assert found[: 2 * STEPS] == pytest.approx([0.3 * (k + 1) / (2 * STEPS) for k in range(2 * STEPS)])
    assert found[2 * STEPS] == 0.3
    assert all(a > b for a, b in zip(found[2 * STEPS :], found[2 * STEPS + 1 :], strict=False))


def test_cosine_ends_near_its_minimum():
    found = rates(protocol())
    assert 0 < found[-1] < 0.3 * 0.01
