"""Label weights read off the loss equal those that each definition states."""

from __future__ import annotations

import pytest
import torch

from bench.backbones.build import build_backbone
from bench.data.normalise import Normaliser
from bench.evals.mixed_labels import labelled_step
from bench.spec import BackboneSpec, ProtocolSpec
from bench.train.criterion import build_criterion
from methods.alignmix import AlignMix
from methods.api import Backbone, Batch, Draws, Loss, Method, Task
from methods.augmix import AugMix
from methods.cutmix import CutMix
from methods.erm import Erm
from methods.mixup import Mixup
from methods.ops.keys import Key

CLASSES = 4
SIZE = 6


def step_of(method: Method, number: int = 0):
    backbone = build_backbone(BackboneSpec(name="test_resnet"), CLASSES, 3, 64, seed=0)
    protocol = ProtocolSpec(epochs=1, batch_size=SIZE, learning_rate=0.1)
    method.setup(backbone, Task(CLASSES, build_criterion(protocol, CLASSES), (3, 64, 64)))
    images = torch.randint(0, 256, (SIZE, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    normalise = Normaliser((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    return labelled_step(backbone, method, images, labels, normalise, Key(0, number)), images, labels, normalise


def soft_labels(labels: torch.Tensor, permutation: torch.Tensor, lam: torch.Tensor) -> torch.Tensor:
    expected = torch.zeros(len(labels), CLASSES)
    shares = lam.expand(len(labels)).tolist()
    for image, (own, partner, share) in enumerate(
        zip(labels.tolist(), labels[permutation].tolist(), shares, strict=True)
    ):
        expected[image, own] += share
        expected[image, partner] += 1 - share
    return expected


@pytest.mark.parametrize("lam_per", ["batch", "sample"])
def test_mixup(lam_per):
    step, images, labels, normalise = step_of(Mixup(lam_per=lam_per))
    [seen] = step.passes
    lam, permutation = step.draws["lam"], step.draws["permutation"]
    torch.testing.assert_close(seen.weights, soft_labels(labels, permutation, lam))
    shaped = lam.reshape(-1, 1, 1, 1)
    clean = normalise(images)
    torch.testing.assert_close(seen.images, shaped * clean + (1 - shaped) * clean[permutation])
    assert step.share_kept == pytest.approx(float(lam.mean()))
    assert not seen.edited


def test_cutmix_and_aligned_features():
    step, _, labels, _ = step_of(CutMix())
    top, left, bottom, right = (int(step.draws["box"][place]) for place in (0, 2, 1, 3))
    lam = torch.tensor(1 - (bottom - top) * (right - left) / 64**2)
    torch.testing.assert_close(step.passes[0].weights, soft_labels(labels, step.draws["permutation"], lam))
    step, _, labels, _ = step_of(AlignMix(input_share=0.0))
    [seen] = step.passes
    assert seen.edited
    torch.testing.assert_close(seen.weights, soft_labels(labels, step.draws["permutation"], step.draws["lam"]))


def test_what_does_not_mix_has_plain_labels():
    for method, passes in ((Erm(), 1), (AugMix(), 3)):
        step, _, labels, _ = step_of(method)
        weights = torch.cat([one.weights for one in step.passes])
        assert len(weights) == passes * SIZE
        torch.testing.assert_close(weights[:SIZE], torch.eye(CLASSES)[labels])
        assert not weights[SIZE:].any()
        assert step.share_kept is None


class HalfClean(Method):
    """Half the loss on clean images, half on negatives of them with the next class."""

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        (images,) = batch.views
        first, second = backbone(torch.cat([images, -images])).chunk(2)
        other = (batch.labels + 1) % CLASSES
        total = (self.task.criterion(first, batch.labels) + self.task.criterion(second, other)).mean() / 2
        return Loss(total, {})


def test_two_halves_of_one_pass_have_half_the_weight_each_and_whole_labels():
    step, _, labels, _ = step_of(HalfClean())
    [seen] = step.passes
    torch.testing.assert_close(seen.weights[:SIZE], 0.5 * torch.eye(CLASSES)[labels])
    torch.testing.assert_close(seen.weights[SIZE:], 0.5 * torch.eye(CLASSES)[(labels + 1) % CLASSES])
    torch.testing.assert_close(seen.targets().sum(1), torch.ones(2 * SIZE))
