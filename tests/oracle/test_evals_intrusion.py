"""Manifold intrusion and the alignment effect against loops that mix by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from evaluation_cases import by_key, context_of, random_backbone, random_feed
from torch import Tensor, nn

from bench.data.resident import ResidentEval
from bench.evals.alignment import Alignment
from bench.evals.api import Context
from bench.evals.feed_batches import sampled_batches
from bench.evals.intrusion import Intrusion
from methods.alignmix import AlignMix
from methods.api import Backbone, Batch, BatchShape, Draws, FeatureMap, Loss, Method
from methods.augmix import AugMix
from methods.cutmix import CutMix
from methods.erm import Erm
from methods.manifold_mixup import ManifoldMixup
from methods.mixup import Mixup
from methods.ops.keys import Key

FEED = random_feed(40, 3, 8, 6)
SETTINGS = {"images": 32, "mixing_batch": 10, "steps": 16, "seed": 4}


def context_for(method: Method | None, erm: bool = True, feed: ResidentEval = FEED) -> Context:
    return context_of(feed, 6, random_backbone(6, 8), method, sensitive_network() if erm else None)


def sensitive_network() -> nn.Module:
    """Linear in the pixels, so that its answers change when images are mixed."""
    layer = nn.Linear(3 * 8 * 8, 6)
    generator = torch.Generator().manual_seed(1)
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return nn.Sequential(nn.Flatten(), layer)


def measured(context: Context) -> list[float | None]:
    return [metric.value for metric in Intrusion(**SETTINGS).evaluate(context, {})]


def mixed_by_hand(method: Method, clean: np.ndarray, draws: Draws) -> np.ndarray | None:
    """Mixup's and CutMix's images by NumPy; None where pixels are not mixed."""
    partner = clean[draws["permutation"].numpy()]
    if isinstance(method, CutMix):
        top, bottom, left, right = draws["box"].tolist()
        mixed = clean.copy()
        mixed[:, :, top:bottom, left:right] = partner[:, :, top:bottom, left:right]
        return mixed
    if draws.branch not in ("", "input"):
        return None
    lam = float(draws["lam"])
    return (lam * clean + (1 - lam) * partner).astype(np.float32)


def by_hand(context: Context, method: Method) -> tuple[float, float, float]:
    """Image by image, with the classes written out."""
    key, erm = Key(4, "intrusion"), context.others["erm"].eval()
    third = clean_third = count = mixed_steps = 0
    for step, (images, labels) in enumerate(sampled_batches(FEED, key, pool=32, size=10, steps=16)):
        draws = method.draw(key.fold("draw", step), BatchShape(10, 3, 8, 8, 0.5))
        clean = context.normalise(images).numpy()
        mixed = mixed_by_hand(method, clean, draws)
        counted = 0
        for place in range(10) if mixed is not None else ():
            partner = int(draws["permutation"][place])
            if partner == place or np.array_equal(mixed[place], clean[place]):
                continue
            sources = {int(labels[place]), int(labels[partner])}
            with torch.no_grad():
                third += int(erm(torch.from_numpy(mixed[place : place + 1])).argmax()) not in sources
                clean_third += int(erm(torch.from_numpy(clean[place : place + 1])).argmax()) not in sources
            counted += 1
        count += counted
        mixed_steps += counted > 0
    return third / count, clean_third / count, mixed_steps / 16


@pytest.mark.parametrize(
    "method",
    [Mixup(), CutMix(probability=0.7), ManifoldMixup(), AlignMix(iterations=3)],
    ids=lambda method: type(method).__name__,
)
def test_share_is_that_of_a_loop(method: Method) -> None:
    context = context_for(method)
    expected = by_hand(context, method)
    assert measured(context) == pytest.approx(expected)
    assert 0 < expected[0] < 1
    if not isinstance(method, Mixup):
        assert expected[2] < 1
    assert expected[0] != expected[1]


@pytest.mark.parametrize(
    "method", [Erm(), Mixup(alpha=0), CutMix(probability=0), AlignMix(input_share=0, iterations=2)]
)
def test_methods_that_leave_pixels_alone_have_none(method: Method) -> None:
    assert measured(context_for(method)) == [None, None, 0.0]


@pytest.mark.parametrize("jsd", [True, False])
def test_an_image_mixed_with_itself_has_its_own_label_as_the_only_source(jsd: bool) -> None:
    method = AugMix(jsd=jsd)
    context = context_for(method)
    key, erm = Key(4, "intrusion"), context.others["erm"].eval()
    verdicts = []
    for step, (images, labels) in enumerate(sampled_batches(FEED, key, pool=32, size=10, steps=16)):
        draws = method.draw(key.fold("draw", step), BatchShape(10, 3, 8, 8, 0.5))
        clean = context.normalise(images)
        for view in method.views(images, context.normalise, draws)[1 if jsd else 0 :]:
            changed = (view != clean).flatten(1).any(dim=1)
            with torch.no_grad():
                verdicts += (erm(view[changed]).argmax(dim=1) != labels[changed]).tolist()
    found = measured(context)
    assert found[0] == pytest.approx(sum(verdicts) / len(verdicts))
    assert found[2] == 1


class Perfect(nn.Module):
    """Knows the class of every clean image and gives all others to class 5."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.known = context.normalise(FEED.images)

    def forward(self, images: Tensor) -> Tensor:
        same = (images[:, None] == self.known[None]).flatten(2).all(dim=2)
        classes = torch.where(same.any(dim=1), FEED.labels[same.int().argmax(dim=1)], 5)
        return nn.functional.one_hot(classes, 6).float()


def test_clean_images_do_not_intrude_under_a_perfect_network() -> None:
    method = Mixup()
    context = context_for(method)
    context = Context(**{**vars(context), "others": {"erm": Perfect(context)}})
    mixed, clean, share = measured(context)
    assert (clean, share) == (0, 1)
    assert mixed > 0.5


def test_without_an_erm_network_or_a_method() -> None:
    assert measured(context_for(Mixup(), erm=False)) == [None, None, 1.0]
    assert measured(context_for(None)) == [None, None, None]


def test_resume_and_nothing_is_changed() -> None:
    context = context_for(Mixup())
    evaluator = Intrusion(**SETTINGS)
    before = {name: value.clone() for name, value in context.backbone.state_dict().items()}
    context.backbone.train()
    metrics = list(evaluator.evaluate(context, {}))
    assert [metric.key for metric in metrics] == evaluator.plan(context)
    for known in range(4):
        assert list(evaluator.evaluate(context, by_key(metrics[:known]))) == metrics[known:]
    assert context.backbone.training
    assert all(torch.equal(before[name], value) for name, value in context.backbone.state_dict().items())
    assert all(parameter.grad is None for parameter in context.backbone.parameters())


def test_partners_are_of_other_classes_though_the_split_is_sorted() -> None:
    order = FEED.labels.argsort()
    batches = sampled_batches(
        ResidentEval(FEED.images[order], FEED.labels[order], 8), Key(0, "intrusion"), pool=40, size=10, steps=5
    )
    assert all(len(set(labels.tolist())) > 2 for _, labels in batches)


class GradientMixing(Method):
    """Asks the network for a gradient by clean images, then mixes pixels; reads the maps of both."""

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        images = batch.views[0].clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(backbone(images).sum(), images)
        assert gradient.any()
        assert (backbone.num_classes, len(backbone.stages), backbone.width()) == (6, 3, 8)
        features: FeatureMap = backbone.features(batch.views[0] + gradient.sign() * 0.1)
        total = self.task.criterion(backbone.head(features), batch.labels).mean()
        assert any(parameter.requires_grad for parameter in backbone.parameters())
        return Loss(total, {})


def test_saliency_methods_may_use_gradients_features_and_head() -> None:
    found = measured(context_for(GradientMixing()))
    assert found[0] is not None
    assert found[2] == 1


def test_alignment_effect_is_the_mean_of_the_methods_own_numbers() -> None:
    method = AlignMix(iterations=20, stage=1)
    context = context_for(method)
    evaluator = Alignment(images=32, mixing_batch=10, steps=3, seed=2)
    found = list(evaluator.evaluate(context, {}))
    key = Key(2, "alignment")
    expected = {"to_first": [], "to_second": []}
    for step, (images, _) in enumerate(sampled_batches(FEED, key, pool=32, size=10, steps=3)):
        with torch.no_grad():
            permutation = torch.from_numpy(key.fold("draw", step, "permutation").generator().permutation(10))
            effects = method.alignment_effect(
                context.backbone.eval(), context.normalise(images), permutation, torch.tensor(0.5)
            )
        for direction, effect in effects.items():
            expected[direction].append(float(effect))
    assert [metric.detail["direction"] for metric in found] == ["to_first", "to_second"]
    for metric in found:
        assert metric.value == pytest.approx(np.mean(expected[metric.detail["direction"]]), rel=1e-4)
        assert metric.value > 0.001
    assert [metric.key for metric in found] == evaluator.plan(context)
    assert list(evaluator.evaluate(context, by_key(found[:1]))) == found[1:]
    assert list(evaluator.evaluate(context, by_key(found))) == []


@pytest.mark.parametrize("method", [None, Mixup(), AlignMix(aligned=False)])
def test_alignment_effect_is_none_for_what_does_not_align(method: Method | None) -> None:
    found = list(Alignment(images=32, mixing_batch=10, steps=2).evaluate(context_for(method), {}))
    assert [metric.value for metric in found] == [None, None]
