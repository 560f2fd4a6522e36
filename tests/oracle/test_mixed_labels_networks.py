"""Label weights read off the loss where a method asks for attention, has a teacher, or mixes logits."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor

from bench.backbones.adapter import TimmBackbone
from bench.evals.mixed_labels import Step, labelled_step
from bench.evals.recording import RecordingBackbone
from methods.api import Method, Task
from methods.automix import AutoMix
from methods.multimix import MultiMix
from methods.ops.keys import Key
from methods.tokenmix_own_attention import TokenMixOwnAttention
from methods.transmix import TransMix
from tests.oracle.mixing_checks import CLASSES, cross_entropy, normalise, photographs
from tests.oracle.vit_cases import SIZE, small_vit


def step_of(method: Method, net: TimmBackbone, size: int = SIZE) -> tuple[Step, Tensor]:
    images, labels = photographs(4, 3, size, size), torch.tensor([0, 1, 2, 3])
    method.setup(net, Task(CLASSES, cross_entropy, (3, size, size)))
    return labelled_step(net, method, images, labels, normalise, Key(3)), normalise(images.float())


@pytest.mark.parametrize("method", [TransMix(cutmix_share=1.0), TokenMixOwnAttention(token_share=1.0)])
def test_attention_methods_weights_are_the_shares_that_they_report(method: Method) -> None:
    step, clean = step_of(method, small_vit())
    ((images, edited, weights),) = step.passes
    assert not edited
    assert (images != clean).any()
    permutation = step.draws["permutation"].tolist()
    assert all(i != j for i, j in enumerate(permutation)), "a fixed point would hide whose weight is whose"
    assert step.share_kept == pytest.approx(weights.diagonal().mean().item(), abs=1e-5)
    others = torch.stack([weights[i, j] for i, j in enumerate(permutation)])
    assert others.min() >= 0
    if isinstance(method, TransMix):
        torch.testing.assert_close(weights.diagonal() + others, torch.ones(4))


def test_teacher_is_not_taken_for_the_network() -> None:
    net = TimmBackbone(timm.create_model("test_resnet", num_classes=CLASSES), CLASSES, 3, 64)
    step, clean = step_of(AutoMix(), net, 64)
    first, second = step.passes
    torch.testing.assert_close(first.images, clean)
    assert torch.equal(first.weights.argmax(1), torch.arange(4))
    torch.testing.assert_close(first.weights.sum(1), torch.ones(4))
    torch.testing.assert_close(second.weights.sum(1), torch.ones(4))
    lam = step.draws["lam"].item()
    for i, j in enumerate(step.draws["permutation"].tolist()):
        assert second.weights[i, i].item() == pytest.approx(lam if i != j else 1.0, abs=1e-5)


def test_mixes_of_logits_belong_to_no_image() -> None:
    net = TimmBackbone(timm.create_model("test_resnet", num_classes=CLASSES), CLASSES, 3, 64)
    step, _ = step_of(MultiMix(input_share=0.0, tuples=20), net, 64)
    assert step.passes[0].weights.abs().sum() == 0


def test_recording_keeps_the_images_of_attention_passes() -> None:
    net, images = small_vit(), torch.zeros(2, 3, SIZE, SIZE)
    recording = RecordingBackbone(net)
    logits, weights = recording.attention(images)
    assert torch.equal(recording.passes[0], images)
    assert torch.equal(logits, net(images))
    assert weights.shape == (2, 3, 16)
