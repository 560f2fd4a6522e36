from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pyautoattack
import pytest
import torch
from pyautoattack.square import SquareAttack
from torch import Tensor, nn

from bench.data.resident import ResidentEval
from bench.errors import BadInput
from bench.evals.api import Context
from bench.evals.autoattack import AutoAttack, require_tiles, undisturbed

CLASSES = 4
CPU = torch.device("cpu")


def normalise(images: Tensor) -> Tensor:
    return (images.float() / 255 - 0.25) / 0.5


def context_of(size: int = 24) -> Context:
    """A linear network that is right on all but every sixth image; the images are grey, so the box does not matter."""
    generator = np.random.default_rng(5)
    images = torch.from_numpy(generator.integers(90, 166, (size, 1, 5, 5), dtype=np.uint8))
    net = nn.Sequential(nn.Flatten(), nn.Linear(25, CLASSES, bias=False))
    net[1].weight.data = torch.from_numpy(generator.normal(size=(CLASSES, 25))).float()
    with torch.no_grad():
        labels = net(normalise(images)).argmax(dim=1)
    labels[::6] = (labels[::6] + 1) % CLASSES
    return Context(net, normalise, {"test": ResidentEval(images, labels, 5)}, CLASSES, CPU, seed=0)


def distances(context: Context, dual: int) -> Tensor:
    """Exact distance of each image's boundary in pixels of [0, 1]; 0 for wrong images."""
    feed, weight = context.splits["test"], context.backbone[1].weight.detach()
    with torch.no_grad():
        logits = context.backbone(normalise(feed.images))
    gaps = logits.gather(1, feed.labels[:, None]) - logits
    slopes = 2 * torch.linalg.vector_norm(weight[feed.labels][:, None] - weight, ord=dual, dim=2)
    own = nn.functional.one_hot(feed.labels, CLASSES).bool()
    return (gaps / slopes).masked_fill(own, torch.inf).amin(dim=1).clamp(min=0)


def between(found: Tensor, share: float) -> float:
    """A radius that lies between two images' distances, so that rounding decides nothing."""
    ordered = found.sort().values
    place = int(share * len(ordered))
    return ((ordered[place] + ordered[place + 1]) / 2).item()


class FewQueries(pyautoattack.AutoAttack):
    """Without Square's 5,000 queries, which find nothing where the gradient attacks are exact."""

    def __init__(self, *positional: object, **settings: object) -> None:
        super().__init__(*positional, **settings)
        assert self.attacks_to_run == ["apgd-ce", "apgd-t", "fab-t", "square"]
        assert self.square.n_queries == 5000
        self.square.n_queries = 100


def test_robust_accuracy_of_a_linear_network_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Image by image known in both norms, with the images in two parts."""
    monkeypatch.setattr(pyautoattack, "AutoAttack", FewQueries)
    context = context_of()
    linf, l2 = distances(context, 1), distances(context, 2)
    eps, length = between(linf, 0.6), between(l2, 0.7)
    evaluator = AutoAttack(linf_255=(eps * 255,), l2=(length,), targets=3, per_class=0, images_at_once=16)
    metrics = list(evaluator.evaluate(context, {}))
    assert [metric.key for metric in metrics] == evaluator.plan(context)
    assert [(metric.name, metric.value) for metric in metrics] == [
        ("attack_clean_top1", pytest.approx(20 / 24)),
        ("attack_top1", pytest.approx((linf > eps).double().mean().item())),
        ("attack_top1", pytest.approx((l2 > length).double().mean().item())),
    ]
    assert metrics[1].detail == {"attack": "autoattack", "norm": "linf", "eps": eps * 255}
    assert metrics[2].detail == {"attack": "autoattack", "norm": "l2", "eps": length}
    assert 0.2 < metrics[1].value < 0.5


def test_resume_subset_and_nothing_left_changed() -> None:
    context = context_of()
    context.backbone.train()
    state, trace = torch.get_rng_state(), sys.gettrace()
    evaluator = AutoAttack(linf_255=(80.0, 100.0), targets=3, per_class=2)
    metrics = list(evaluator.evaluate(context, {}))
    labels = context.splits["test"].labels
    chosen = torch.cat([(labels == label).nonzero()[:2, 0] for label in range(CLASSES)])
    assert metrics[0].value == pytest.approx((distances(context, 2)[chosen] > 0).double().mean().item())
    assert [metric.value for metric in metrics[1:]] == [0.0, 0.0]
    for count in (1, 2, 3):
        done = {metric.key: metric.value for metric in metrics[:count]}
        assert list(evaluator.evaluate(context, done)) == metrics[count:]
    assert torch.equal(torch.get_rng_state(), state)
    assert sys.gettrace() is trace
    assert all(module.training for module in context.backbone.modules())
    assert all(weight.grad is None and weight.requires_grad for weight in context.backbone.parameters())


def test_weights_and_trace_come_back_after_an_error() -> None:
    net = nn.Linear(2, 2)
    net.bias.requires_grad_(False)
    state, trace = torch.get_rng_state(), sys.gettrace()

    def trace_nothing(*_: object) -> None:
        return None

    sys.settrace(trace_nothing)
    try:
        with pytest.raises(RuntimeError, match="broken"), undisturbed(net, CPU):
            torch.manual_seed(7)
            sys.settrace(None)
            assert not net.weight.requires_grad
            raise RuntimeError("broken")
        assert sys.gettrace() is trace_nothing
    finally:
        sys.settrace(trace)
    assert net.weight.requires_grad
    assert not net.bias.requires_grad
    assert torch.equal(torch.get_rng_state(), state)


def test_leaving_the_ball_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    class Escaping(pyautoattack.AutoAttack):
        def run_standard_evaluation(self, images: Tensor, labels: Tensor, /, *, batch_size: int):  # type: ignore[no-untyped-def]
            return images + 0.1, labels

    monkeypatch.setattr(pyautoattack, "AutoAttack", Escaping)
    with pytest.raises(AssertionError, match="from its original"):
        list(AutoAttack(targets=3).evaluate(context_of(), {}))


def test_missing_package_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"not installed: pip install 'mixbench\[autoattack\]'$"):
        AutoAttack(targets=3).plan(context_of())


def test_too_few_classes_are_bad_input() -> None:
    context = Context(nn.Identity(), normalise, context_of().splits, 3, CPU, seed=0)
    message = "needs a network with 4 or more classes, this one has 3"
    with pytest.raises(BadInput, match=message):
        AutoAttack(targets=2).plan(context)
    with pytest.raises(BadInput, match=message):
        next(AutoAttack(targets=2).evaluate(context, {}))


@pytest.mark.parametrize(("targets", "attacked"), [(2, 2), (3, 3), (4, 3), (9, 3)])
def test_no_more_targets_than_other_classes(monkeypatch: pytest.MonkeyPatch, targets: int, attacked: int) -> None:
    asked = []

    class Recording(pyautoattack.AutoAttack):
        def run_standard_evaluation(self, images: Tensor, labels: Tensor, /, *, batch_size: int):  # type: ignore[no-untyped-def]
            asked.append((self.apgd_targeted.n_target_classes, self.fab.n_target_classes))
            return images, labels

    monkeypatch.setattr(pyautoattack, "AutoAttack", Recording)
    list(AutoAttack(targets=targets).evaluate(context_of(), {}))
    assert asked == [(attacked, attacked)]


def test_logits_that_are_not_finite_are_bad_input() -> None:
    context = context_of()
    context.backbone[1].weight.data[0, 0] = torch.nan
    with pytest.raises(BadInput, match=r"^autoattack: the network's logits are not finite on 24 of 24 test images"):
        next(AutoAttack().evaluate(context, {}))


def test_sizes_on_which_the_package_fails_are_bad_input() -> None:
    """Held against the package itself, with no query after its start."""
    refused = set()
    for height in range(1, 33):
        pixels = torch.full((1, 1, height, height), 0.5)
        with torch.random.fork_rng(devices=[]):
            attack = SquareAttack(lambda images: images.new_tensor([[1.0, 0.0]]), norm="L2", n_queries=0, eps=0.5)
            try:
                attack.perturb(pixels, torch.tensor([0]))
            except (RuntimeError, ZeroDivisionError):
                refused.add(height)
                with pytest.raises(BadInput, match=rf"cannot attack images of {height} pixels in l2"):
                    require_tiles(height)
            else:
                require_tiles(height)
    assert {1, 4, 12, 14} < refused
    assert not {8, 28, 32} & refused


def test_bad_settings() -> None:
    with pytest.raises(BadInput, match="linf_255 and l2 are both empty"):
        AutoAttack(linf_255=())
    with pytest.raises(BadInput, match="autoattack: l2 needs one or more different values"):
        AutoAttack(l2=(0.5, 0.5))
