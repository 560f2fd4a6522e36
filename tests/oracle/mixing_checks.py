"""Checks of input-level methods, each against independent code; planted-fault tests expect them to fail."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_sample_images
from timm.data import mixup as timm_mixup
from torch import Tensor, nn

from methods.api import Batch, BatchShape, Draws, Method, Task
from methods.ops.keys import Key

CLASSES = 5
MEAN, STD = 0.4, 0.25


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, reduction="none")


def normalise(images: Tensor) -> Tensor:
    return (images / 255 - MEAN) / STD


class Recorder(nn.Module):
    """A linear classifier that keeps the batches it is given."""

    num_classes = CLASSES
    stages = ("one", "two")

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        inputs = channels * height * width
        self.weight = nn.Parameter(torch.randn(CLASSES, inputs, generator=generator) / inputs**0.5)
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor, edit: object = None) -> Tensor:
        assert edit is None
        self.seen.append(images.detach())
        return images.flatten(1) @ self.weight.T


def photographs(count: int, channels: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Crops of scikit-learn's two sample photographs, uint8 (count, channels, height, width); 1 channel is green."""
    generator = np.random.default_rng(seed)
    crops = []
    originals = load_sample_images().images
    for index in range(count):
        image = originals[index % 2]
        top = generator.integers(image.shape[0] - height)
        left = generator.integers(image.shape[1] - width)
        crop = image[top : top + height, left : left + width]
        crops.append(crop[:, :, 1:2] if channels == 1 else crop)
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()


def shape_of(images: Tensor) -> BatchShape:
    return BatchShape(*images.shape)


def ready(method: Method, images: Tensor, criterion: object = cross_entropy) -> tuple[Method, Recorder]:
    """The method, set up for images of this shape, and the backbone that it will train."""
    recorder = Recorder(*images.shape[1:])
    method.setup(recorder, Task(CLASSES, criterion, tuple(images.shape[1:])))  # type: ignore[arg-type]
    return method, recorder


def check_label_follows_image(method: Method, images_shape: tuple[int, int, int, int], keys: Iterable[Key]) -> None:
    """Constant images whose pixels equal their labels: mean pixel == mixed label, for every image of every batch."""
    size = images_shape[0]
    labels = torch.randperm(size, generator=torch.Generator().manual_seed(1))
    images = labels.float().view(-1, 1, 1, 1).expand(images_shape).clone()
    importance = torch.linspace(1, 2, size) ** 2

    method, recorder = ready(method, images, criterion=lambda logits, labels: importance * labels)
    for key in keys:
        draws = method.draw(key, BatchShape(*images_shape))
        mixed_label = method.loss(recorder, Batch((images,), labels), draws).total
        mean_pixel = recorder.seen.pop().mean((1, 2, 3))
        torch.testing.assert_close(mixed_label, (importance * mean_pixel).mean(), rtol=1e-5, atol=1e-5)


def check_against_timm(method: Method, draws: Draws, lam: float, box: tuple[int, int, int, int] | None) -> None:
    """Mixed images and loss, given lam or the box, equal timm's with soft labels. The permutation must be a flip."""
    images = normalise(photographs(6, 3, 10, 14))
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    method, recorder = ready(method, images)
    assert torch.equal(draws["permutation"], torch.arange(6).flip(0))

    reference = timm_mixup.Mixup(label_smoothing=0.0, num_classes=CLASSES)
    reference._params_per_batch = lambda: (lam, box is not None)
    original = timm_mixup.rand_bbox
    timm_mixup.rand_bbox = lambda *unused, **options: box
    try:
        mixed, target = reference(images.clone(), labels)
    finally:
        timm_mixup.rand_bbox = original
    expected = -(target * F.log_softmax(recorder(mixed), 1)).sum(1).mean()
    recorder.seen.clear()

    loss = method.loss(recorder, Batch((images,), labels), draws).total
    torch.testing.assert_close(recorder.seen[0], mixed, rtol=0, atol=1e-6)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)


def check_normalised_once(method: Method) -> None:
    """Every view that is not mixed equals (pixel / 255 - mean) / std in float64."""
    images = photographs(3, 3, 9, 7)
    draws = method.draw(Key(0), shape_of(images))
    expected = (images.double().numpy() / 255 - MEAN) / STD
    views = method.views(images, normalise, draws)
    assert views
    for view in views:
        np.testing.assert_allclose(view.numpy(), expected, rtol=0, atol=1e-5)


def check_one_graph(method: Method, images: Tensor, keys: Iterable[Key]) -> None:
    """The loss compiles without a graph break, once for all draws, and equals the eager one, in value and gradient."""
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), CLASSES, bias=False))
    nn.init.orthogonal_(classifier[1].weight, generator=torch.Generator().manual_seed(0))
    method.setup(classifier, Task(CLASSES, cross_entropy, tuple(images.shape[1:])))  # type: ignore[arg-type]
    labels = torch.arange(len(images)) % CLASSES

    def total(views: tuple[Tensor, ...], tensors: dict[str, Tensor]) -> Tensor:
        return method.loss(classifier, Batch(views, labels), Draws("", tensors)).total  # type: ignore[arg-type]

    torch._dynamo.reset()
    compiled = torch.compile(total, backend="aot_eager", fullgraph=True, dynamic=False)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for key in keys:
            draws = method.draw(key, shape_of(images))
            views = method.views(images, normalise, draws)
            results = []
            for function in (total, compiled):
                loss = function(views, dict(draws.tensors))
                results += [loss.detach(), *torch.autograd.grad(loss, list(classifier.parameters()))]
            torch.testing.assert_close(results[:2], results[2:], rtol=1e-5, atol=1e-6)
