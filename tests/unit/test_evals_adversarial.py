"""The evaluator `adversarial`: what it yields, how it continues, what its checks see."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.config.yaml_file import YamlFile
from bench.data.resident import ResidentEval
from bench.errors import BadInput
from bench.evals.adversarial import Adversarial
from bench.evals.api import Context
from bench.evals.attack_ops import network as network_file
from bench.evals.attack_ops.ball import Ball
from bench.evals.attack_ops.masking import CHECKS, falls, is_zero, masking_checks, not_above
from bench.evals.registry import arm_from, read_arm

CONFIGS = Path(__file__).parents[2] / "configs/eval"
SMALL = {"linf_255": (2.0, 8.0), "l2": (), "fgsm_255": (8.0,), "pgd20_255": (8.0,), "steps": 6, "targets": 2,
         "checks_eps_255": 8.0, "square_queries": 20}  # fmt: skip


def normalise(images: Tensor) -> Tensor:
    return (images.float() / 255 - 0.25) / 0.5


@functools.lru_cache(maxsize=1)
def trained() -> tuple[nn.Module, nn.Module, ResidentEval]:
    """Two small networks of four classes and 40 test images, most of them right."""
    generator = np.random.default_rng(1)
    prototypes = generator.random((4, 1, 6, 6))
    labels = torch.from_numpy(generator.integers(0, 4, 240))
    images = 0.5 + 0.25 * (prototypes[labels.numpy()] - 0.5) + 0.13 * generator.normal(size=(240, 1, 6, 6))
    images = torch.from_numpy((images.clip(0, 1) * 255).astype(np.uint8))
    nets = []
    for seed in (0, 1):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Tanh(), nn.Flatten(), nn.Linear(96, 4))
        optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
        for _ in range(40):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(normalise(images[:200])), labels[:200]).backward()
            optimiser.step()
        optimiser.zero_grad()
        nets.append(net)
    return nets[0], nets[1], ResidentEval(images[200:], labels[200:], 6)


def context_of(net: nn.Module | None = None, other: nn.Module | None = None, classes: int = 4) -> Context:
    trained_net, _, feed = trained()
    others = {} if other is None else {"erm": other}
    splits = {"test": feed}
    return Context(net or trained_net, normalise, splits, classes, torch.device("cpu"), seed=0, others=others)


@functools.lru_cache(maxsize=1)
def full() -> list:
    return list(Adversarial(**SMALL).evaluate(context_of(None, trained()[1]), {}))


def values(metrics) -> dict[str, float | None]:
    return {metric.key: metric.value for metric in metrics}


def check_named(found: dict[str, float | None], check: str) -> float | None:
    return found[f'masking_check {{"check":"{check}","norm":"linf"}}']


def value_named(found: dict[str, float | None], quantity: str) -> float | None:
    return found[f'masking_value {{"norm":"linf","quantity":"{quantity}"}}']


class Wrapped(nn.Module):
    """A network behind something that hides its gradients."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.net, self.kind = trained()[0], kind

    def forward(self, images: Tensor) -> Tensor:
        if self.kind == "staircase":
            return self.net((images * 30).round() / 30)
        return self.net(images) * 1e4


def test_an_honest_network_passes_its_checks() -> None:
    found = values(full())
    assert list(found) == Adversarial(**SMALL).plan(context_of())
    assert [check_named(found, check) for check in CHECKS] == [1.0] * len(CHECKS)
    top1 = {
        (metric.detail["attack"], metric.detail["eps"]): metric.value
        for metric in full()
        if metric.name == "attack_top1"
    }
    clean = found["attack_clean_top1 {}"]
    assert set(top1) == {
        ("fgsm", 8.0),
        ("pgd20", 8.0),
        ("apgd_ce", 2.0),
        ("apgd_ce", 8.0),
        ("apgd", 2.0),
        ("apgd", 8.0),
    }
    assert 0.05 < top1["apgd", 8.0] <= top1["apgd_ce", 8.0] < top1["apgd", 2.0] < clean
    assert value_named(found, "ce_minus_worst_case") == top1["apgd_ce", 8.0] - top1["apgd", 8.0]
    assert value_named(found, "zero_gradient") == 0
    assert value_named(found, "fgsm_top1") == top1["fgsm", 8.0]
    assert top1["apgd", 8.0] <= value_named(found, "transfer_top1") <= clean


def test_it_continues_where_it_was_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    context = context_of(None, trained()[1])
    for count in (4, 10):
        assert list(Adversarial(**SMALL).evaluate(context, values(full()[:count]))) == full()[count:]
    measured = next(place for place, metric in enumerate(full()) if metric.name == "masking_check")
    monkeypatch.setattr(network_file, "robust_accuracy", None)
    for count in (measured, measured + 3, len(full())):
        assert list(Adversarial(**SMALL).evaluate(context, values(full()[:count]))) == full()[count:]


def test_batch_size_and_other_images_change_nothing_and_the_network_is_left_alone() -> None:
    net, other, _ = trained()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    again = list(Adversarial(**SMALL, batch_size=7).evaluate(context_of(None, other), {}))
    assert again == full()
    assert net.training
    assert other.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in [*net.parameters(), *other.parameters()])


def test_without_an_erm_network_and_without_square() -> None:
    settings = {**SMALL, "square_queries": 0, "linf_255": (8.0,), "fgsm_255": (), "pgd20_255": ()}
    found = values(Adversarial(**settings).evaluate(context_of(), {}))
    assert value_named(found, "transfer_top1") is None
    assert check_named(found, "apgd_not_above_transfer") is None
    assert value_named(found, "square_top1") is None
    assert check_named(found, "apgd_not_above_square") is None
    assert check_named(found, "monotone_in_eps") == 1.0


def test_euclidean_curve_and_its_checks() -> None:
    settings = {"linf_255": (), "l2": (0.3, 0.1), "fgsm_255": (), "pgd20_255": (), "steps": 6, "targets": 0,
                "checks_eps_l2": 0.3, "square_queries": 20}  # fmt: skip
    evaluator = Adversarial(**settings)
    metrics = list(evaluator.evaluate(context_of(), {}))
    assert [metric.key for metric in metrics] == evaluator.plan(context_of())
    top1 = {metric.detail["eps"]: metric.value for metric in metrics if metric.detail.get("attack") == "apgd"}
    assert top1[0.3] < top1[0.1] < metrics[0].value
    checks = {metric.detail["check"]: metric.value for metric in metrics if metric.name == "masking_check"}
    assert checks.pop("apgd_not_above_transfer") is None
    assert set(checks.values()) == {1.0}


def test_saturated_cross_entropy_is_seen_and_the_ratio_is_not_blinded() -> None:
    settings = {**SMALL, "linf_255": (8.0,)}
    found = values(Adversarial(**settings).evaluate(context_of(Wrapped("scaled")), {}))
    assert value_named(found, "zero_gradient") > 0.5
    assert value_named(found, "ce_minus_worst_case") > 0.3
    honest = values(full())['attack_top1 {"attack":"apgd","eps":8.0,"norm":"linf"}']
    assert found['attack_top1 {"attack":"apgd","eps":8.0,"norm":"linf"}'] == pytest.approx(honest, abs=0.051)


def test_a_staircase_that_only_gradients_cannot_climb_fails_the_checks() -> None:
    net, other, _ = trained()
    settings = {**SMALL, "linf_255": (8.0,), "square_queries": 100}
    found = values(Adversarial(**settings).evaluate(context_of(Wrapped("staircase"), other), {}))
    assert value_named(found, "zero_gradient") == 1.0
    assert check_named(found, "zero_at_half_range") == 0.0
    assert check_named(found, "apgd_not_above_square") == 0.0
    assert check_named(found, "apgd_not_above_transfer") == 0.0
    assert net.training


def test_normalisation_outside_the_attacked_function_is_another_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that has its normalisation in its weights, with the identity outside, must give the same accuracies."""

    class Folded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = trained()[0]

        def forward(self, pixels: Tensor) -> Tensor:
            return self.net((pixels - 0.25) / 0.5)

    settings = {**SMALL, "checks": False}
    folded = Context(Folded(), lambda images: images.float() / 255, {"test": trained()[2]}, 4, torch.device("cpu"), 0)
    expected = list(Adversarial(**settings).evaluate(folded, {}))
    assert list(Adversarial(**settings).evaluate(context_of(), {})) == expected
    monkeypatch.setattr(network_file, "pixel_model", lambda backbone, normalise: lambda pixels: backbone(pixels))
    assert list(Adversarial(**settings).evaluate(context_of(), {})) != expected


def test_an_attack_that_leaves_ball_or_box_stops_the_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ball, "project", lambda ball, pixels, attacked: attacked)
    with pytest.raises(AssertionError, match="from its original, allowed 8/255"):
        list(Adversarial(**SMALL).evaluate(context_of(), {}))
    box = Ball("linf", 1.0)
    monkeypatch.setattr(
        Ball, "project", lambda ball, pixels, attacked: attacked.clamp(pixels - box.eps, pixels + box.eps)
    )
    with pytest.raises(AssertionError, match="outside"):
        list(Adversarial(**{**SMALL, "fgsm_255": (255.0,)}).evaluate(context_of(), {}))


@pytest.mark.parametrize(
    ("settings", "classes", "message"),
    [
        ({}, 3, r"^adversarial: the targeted logits ratio \(targets: 0 .*\) needs 4 or more classes, this network has 3$"),
        ({"targets": 0}, 2, "^adversarial: the logits ratio needs 3 or more classes, this network has 2$"),
    ],
)  # fmt: skip
def test_too_few_classes_are_bad_input_before_any_work(settings: dict, classes: int, message: str) -> None:
    evaluator = Adversarial(**{"targets": 2, **settings})
    with pytest.raises(BadInput, match=message):
        evaluator.plan(context_of(classes=classes))
    with pytest.raises(BadInput, match=message):
        next(evaluator.evaluate(context_of(classes=classes), {}))


def test_more_targets_than_other_classes_are_all_of_them() -> None:
    settings = {**SMALL, "linf_255": (8.0,), "checks": False}
    all_three = list(Adversarial(**{**settings, "targets": 3}).evaluate(context_of(), {}))
    assert list(Adversarial(**{**settings, "targets": 9}).evaluate(context_of(), {})) == all_three


def test_logits_that_are_not_finite_are_bad_input() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 4))
    net[1].bias.data[2] = torch.inf
    message = r"^adversarial: the network's logits are not finite on 40 of 40 test images that were tried together; .*"
    with pytest.raises(BadInput, match=message):
        next(Adversarial(**SMALL).evaluate(context_of(net), {}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"checks_eps_255": 3.0}, "checks_eps_255 3 is not one of linf_255; the nearest is 2"),
        ({"l2": (1.0, 2.0)}, "checks_eps_l2 0.25 is not one of l2; the nearest is 1"),
        ({"linf_255": (2.0, 2.0)}, "linf_255 needs one or more different values"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Adversarial(**settings)


def test_arms_build_and_settings_are_checked() -> None:
    for name in ("adversarial", "adversarial-small"):
        arm = read_arm(CONFIGS / f"{name}.yaml")
        assert arm.evaluator == "adversarial"
        arm.build()
    assert Adversarial.needs == ("erm",)
    with pytest.raises(BadInput, match="linf_255"):
        arm_from(YamlFile(Path("x.yaml"), {"evaluator": "adversarial", "linf_255": [0.0]}, {}))


def test_comparisons_allow_one_image_or_two_tenths_of_a_point() -> None:
    assert not_above(0.51, 0.50, 100) == 1.0
    assert not_above(0.52, 0.50, 100) == 0.0
    assert not_above(0.502, 0.50, 10000) == 1.0
    assert not_above(0.503, 0.50, 10000) == 0.0
    assert not_above(None, 0.5, 10) is None
    assert falls([0.9, 0.4, 0.1], 1000) == 1.0
    assert falls([0.9, 0.1, 0.4], 1000) == 0.0
    assert falls([0.9, None, 0.4], 1000) is None
    assert (is_zero(0.0), is_zero(0.001), is_zero(None)) == (1.0, 0.0, None)


def test_each_check_reads_its_own_accuracies() -> None:
    honest = {"apgd": 0.2, "apgd_ce": 0.3, "apgd_ce_fewer_steps": 0.4, "apgd_half_range": 0.0, "fgsm": 0.5, "pgd": 0.4,
              "square": 0.6, "transfer": 0.7, "noise": 0.8}  # fmt: skip
    curve = [0.9, 0.5, 0.2]
    assert masking_checks(honest, curve, 1000) == dict.fromkeys(CHECKS, 1.0)
    faults = {
        "zero_at_half_range": {"apgd_half_range": 0.1},
        "pgd_not_above_fgsm": {"pgd": 0.6},
        "more_steps_not_above_fewer": {"apgd_ce_fewer_steps": 0.2},
        "apgd_not_above_square": {"square": 0.1},
        "apgd_not_above_transfer": {"transfer": 0.1},
        "apgd_not_above_noise": {"noise": 0.1},
    }
    for check, fault in faults.items():
        assert [name for name, value in masking_checks({**honest, **fault}, curve, 1000).items() if not value] == [
            check
        ]
    assert masking_checks(honest, [0.1, *curve], 1000)["monotone_in_eps"] == 0.0
