"""Checks of methods that mix images and may be guided; each takes the step as the trainer does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods.api import Batch, BatchShape, Criterion, Draws, Method, Task, guided, mixed_loss
from methods.ops.keys import Key
from tests.oracle.mixing_checks import CLASSES, Recorder, cross_entropy, normalise, ready, shape_of

Step = tuple[Tensor, Tensor, dict[str, Tensor]]


def take_step(method: Method, recorder: Recorder, images: Tensor, labels: Tensor, draws: Draws) -> Step:
    """Total loss, the batch that the network saw, and the parts."""
    batch = Batch((images,), labels)
    loss = method.loss(recorder, batch, guided(method, recorder, batch, draws))  # type: ignore[arg-type]
    return loss.total, recorder.seen.pop(), loss.parts


def check_labels_follow_pixels(method: Method, images_shape: tuple[int, int, int, int], keys: Iterable[Key]) -> None:
    """Constant images whose pixels equal their labels: mean pixel == mixed label, for every image of every batch; and
    share_kept == the mean weight of an image's own label, as measured on images 0 with one image 1 at a time."""
    size = images_shape[0]
    labels = torch.randperm(size, generator=torch.Generator().manual_seed(1))
    images = labels.float().view(-1, 1, 1, 1).expand(images_shape).clone()
    importance = torch.linspace(1, 2, size) ** 2

    def criterion(logits: Tensor, labels: Tensor) -> Tensor:
        return importance[: len(labels)] * labels

    method, recorder = ready(method, images, criterion=criterion)
    for key in keys:
        draws = method.draw(key, BatchShape(*images_shape))
        total, seen, parts = take_step(method, recorder, images, labels, draws)
        weights = importance.repeat(len(seen) // size)
        torch.testing.assert_close(total, (weights * seen.mean((1, 2, 3))).mean(), rtol=1e-5, atol=1e-5)

        others = Draws(draws.branch, {**draws.tensors, "permutation": torch.arange(size).roll(1)})
        kept = []
        for image in range(size if size > 1 else 0):
            alone = torch.zeros(images_shape)
            alone[image] = 1
            _, seen, parts = take_step(method, recorder, alone, labels, others)
            kept.append(seen.mean((1, 2, 3))[image::size].mean())
        if kept:
            torch.testing.assert_close(parts["share_kept"], torch.stack(kept).mean(), rtol=0, atol=1e-5)


def check_pixels_come_from_one_image(method: Method, images: Tensor, keys: Iterable[Key]) -> None:
    """Methods that cut: each pixel is the image's own or its partner's at the same place."""
    method, recorder = ready(method, images)
    for key in keys:
        draws = method.draw(key, shape_of(images))
        _, seen, _ = take_step(method, recorder, images, torch.arange(len(images)) % CLASSES, draws)
        partners = images[draws["permutation"]]
        assert ((seen == images) | (seen == partners)).all()


def check_plain(method: Method, images: Tensor, keys: Iterable[Key]) -> None:
    """The step is plain training bit for bit."""
    labels = torch.arange(len(images)) % CLASSES
    method, recorder = ready(method, images)
    for key in keys:
        total, seen, parts = take_step(method, recorder, images, labels, method.draw(key, shape_of(images)))
        assert torch.equal(seen, images)
        assert total.item() == cross_entropy(recorder(images), labels).mean().item()
        assert parts["share_kept"] == 1
        recorder.seen.clear()


def check_compiles_to_one_graph(method: Method, images: Tensor, keys: Iterable[Key]) -> None:
    """The loss compiles without a graph break, once for all draws of a branch, and equals the eager one."""
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), CLASSES, bias=False))
    nn.init.orthogonal_(classifier[1].weight, generator=torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    method.setup(classifier, Task(CLASSES, cross_entropy, tuple(images.shape[1:])))  # type: ignore[arg-type]
    labels = torch.arange(len(images)) % CLASSES

    def total(view: Tensor, branch: str, tensors: dict[str, Tensor]) -> Tensor:
        return method.loss(classifier, Batch((view,), labels), Draws(branch, tensors)).total  # type: ignore[arg-type]

    torch._dynamo.reset()
    compiled = torch.compile(total, backend="aot_eager", fullgraph=True, dynamic=False)
    branches = set()
    for key in keys:
        draws = method.draw(key, shape_of(images))
        (view,) = method.views(images, normalise, draws)
        draws = guided(method, classifier, Batch((view,), labels), draws)  # type: ignore[arg-type]
        with torch._dynamo.config.patch(error_on_recompile=draws.branch in branches):
            branches.add(draws.branch)
            losses = [function(view, draws.branch, dict(draws.tensors)) for function in (total, compiled)]
        torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=1e-6)


def swapped_lam(criterion: Criterion, logits: Tensor, labels: Tensor, permutation: Tensor, lam: Tensor) -> Tensor:
    return mixed_loss(criterion, logits, labels, permutation, 1 - lam)


def labels_not_permuted(
    criterion: Criterion, logits: Tensor, labels: Tensor, permutation: Tensor, lam: Tensor
) -> Tensor:
    return mixed_loss(criterion, logits, labels, torch.arange(len(labels)), lam)


def labels_permuted_back(
    criterion: Criterion, logits: Tensor, labels: Tensor, permutation: Tensor, lam: Tensor
) -> Tensor:
    return mixed_loss(criterion, logits, labels, permutation.argsort(), lam)


LABEL_FAULTS = [swapped_lam, labels_not_permuted, labels_permuted_back]


def check_label_faults_are_caught(
    module: Any, build: Callable[[], Method], shape: tuple[int, int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The label check passes as shipped and fails with each of the faults in place of `mixed_loss`."""
    keys = [Key("faults", number) for number in range(8)]
    check_labels_follow_pixels(build(), shape, keys)
    for fault in LABEL_FAULTS:
        with monkeypatch.context() as patched:
            patched.setattr(module, "mixed_loss", fault)
            with pytest.raises(AssertionError):
                check_labels_follow_pixels(build(), shape, keys)
