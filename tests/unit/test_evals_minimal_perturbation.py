from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.data.resident import ResidentEval
from bench.errors import BadInput
from bench.evals import minimal_perturbation
from bench.evals.api import Context
from bench.evals.attack_ops.fmn import Smallest
from bench.evals.minimal_perturbation import MinimalPerturbation, median

CLASSES = 3


def normalise(images: Tensor) -> Tensor:
    return (images.float() / 255 - 0.25) / 0.5


def context_of(size: int = 60, net: nn.Module | None = None, classes: int = CLASSES) -> Context:
    """A linear network that is right on about half of the images, which are grey enough for the box not to matter."""
    generator = np.random.default_rng(5)
    images = torch.from_numpy(generator.integers(110, 146, (size, 1, 4, 4), dtype=np.uint8))
    if net is None:
        net = nn.Sequential(nn.Flatten(), nn.Linear(16, classes, bias=False))
    for parameter in net.parameters():
        parameter.data = torch.from_numpy(generator.normal(size=parameter.shape)).float()
    with torch.no_grad():
        labels = net.eval()(normalise(images)).argmax(dim=1)
    shuffled = torch.from_numpy(generator.integers(0, classes, size))
    labels = torch.where(torch.arange(size) % 2 == 0, labels, shuffled)
    return Context(net, normalise, {"test": ResidentEval(images, labels, 4)}, classes, torch.device("cpu"), seed=0)


def analytic(context: Context, dual: int) -> np.ndarray:
    """Distances in pixels of [0, 1]: normalisation divides them by 0.5, so that slopes are twice the weights."""
    feed, weight = context.splits["test"], context.backbone[1].weight.detach()
    with torch.no_grad():
        logits = context.backbone(normalise(feed.images))
    gaps = logits.gather(1, feed.labels[:, None]) - logits
    slopes = 2 * torch.linalg.vector_norm(weight[feed.labels][:, None] - weight, ord=dual, dim=2)
    own = torch.nn.functional.one_hot(feed.labels, CLASSES).bool()
    return (gaps / slopes).masked_fill(own, torch.inf).amin(dim=1).clamp(min=0).numpy()


def test_medians_of_a_linear_network_are_analytic() -> None:
    """To 0.5 %; wrong images enter with 0 and everything is found."""
    context = context_of()
    evaluator = MinimalPerturbation(steps=100)
    found = {metric.key: metric.value for metric in evaluator.evaluate(context, {})}
    assert list(found) == evaluator.plan(context)
    linf, l2 = analytic(context, 1), analytic(context, 2)
    assert 0.2 < (linf == 0).mean() < 0.45
    assert found['perturbation_median {"norm":"linf"}'] == pytest.approx(255 * np.median(linf), rel=5e-3)
    assert found['perturbation_median {"norm":"l2"}'] == pytest.approx(np.median(l2), rel=5e-3)
    assert found['perturbation_found {"norm":"linf"}'] == found['perturbation_found {"norm":"l2"}'] == 1.0


def test_resume_batch_size_subset_and_modes() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, CLASSES))
    context = context_of(net=net)
    net.train()
    evaluator = MinimalPerturbation(steps=10, per_class=7)
    metrics = list(evaluator.evaluate(context, {}))
    small = list(MinimalPerturbation(steps=10, per_class=7, batch_size=4).evaluate(context, {}))
    assert [metric.value for metric in small] == pytest.approx([metric.value for metric in metrics], rel=1e-4)
    for count in (1, 2, 3, 4):
        done = {metric.key: metric.value for metric in metrics[:count]}
        assert list(evaluator.evaluate(context, done)) == metrics[count:]
    assert [m.value for m in MinimalPerturbation(steps=10).evaluate(context, {})] != [m.value for m in metrics]
    assert all(module.training for module in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_images_never_fooled_count_as_infinitely_far() -> None:
    class Flat(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :CLASSES] * 0 + torch.tensor([0.0, 1.0, 0.0])

    context = context_of(net=Flat())
    wrong = (context.splits["test"].labels != 1).double().mean().item()
    found = {metric.name: metric.value for metric in MinimalPerturbation(norms=("l2",), steps=3).evaluate(context, {})}
    assert found == {"perturbation_median": None, "perturbation_found": pytest.approx(wrong)}
    assert 0 < wrong < 0.5


def test_median_of_an_even_and_an_odd_number() -> None:
    assert median(torch.tensor([3.0, 1.0, torch.inf])) == 3
    assert median(torch.tensor([0.0, 4.0, 1.0, torch.inf])) == 2.5
    assert median(torch.tensor([0.0, torch.inf])) is None


def test_logits_that_are_not_finite_are_bad_input() -> None:
    context = context_of()
    context.backbone[1].weight.data[0, 0] = torch.nan
    with pytest.raises(BadInput, match=r"^minimal_perturbation: .* not finite on 60 of 60 test images"):
        next(MinimalPerturbation().evaluate(context, {}))


@pytest.mark.parametrize("value", [-0.01, 1.01, torch.nan, torch.inf])
def test_leaving_the_box_is_caught(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    def escaping(model: nn.Module, pixels: Tensor, labels: Tensor, norm: str, steps: int) -> Smallest:
        attacked = pixels.clone()
        attacked[-1, 0, 0, 0] = value
        return Smallest(attacked, torch.zeros(len(pixels)))

    monkeypatch.setattr(minimal_perturbation, "fast_minimum_norm", escaping)
    with pytest.raises(AssertionError, match=r"outside \[0, 1\]"):
        next(MinimalPerturbation().evaluate(context_of(), {}))


def test_bad_settings_and_contexts() -> None:
    with pytest.raises(BadInput, match="norms needs one or more different values"):
        MinimalPerturbation(norms=("l2", "l2"))
    one = Context(nn.Identity(), normalise, {}, 1, torch.device("cpu"), seed=0)
    with pytest.raises(BadInput, match="needs a network with two or more classes"):
        MinimalPerturbation().plan(one)
    with pytest.raises(BadInput, match="the test split has no images"):
        list(MinimalPerturbation().evaluate(context_of(size=0), {}))
