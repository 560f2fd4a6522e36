"""SnapMix against a loop with CAM from the head's weights, torch's resize, and the integral of the share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from torch import Tensor
from torch.nn import functional

from methods import snapmix
from methods.api import BatchShape, Draws, Method
from methods.ops.box_resize import resized_into
from methods.ops.boxes import share_outside
from methods.ops.class_maps import class_maps
from methods.ops.keys import Key
from methods.snapmix import SnapMix, share_inside
from tests.oracle.mixing_checks import cross_entropy, normalise, photographs, shape_of
from tests.oracle.saliency_checks import PooledNet, check_mean_pixel_is_the_label, set_up, step

KEYS = [Key("snapmix", number) for number in range(6)]
CASES = settings(max_examples=20, deadline=None, database=None, derandomize=True)


def box_of(data: st.DataObject, height: int, width: int) -> tuple[int, int, int, int]:
    edges: list[int] = []
    for size in (height, width):
        low = data.draw(st.integers(0, size - 1))
        edges += [low, data.draw(st.integers(low + 1, size))]
    return edges[0], edges[1], edges[2], edges[3]


@CASES
@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_resized_box_is_that_of_torch(height: int, width: int, data: st.DataObject) -> None:
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height * 10 + width))
    source, target = box_of(data, height, width), box_of(data, height, width)
    cut = images[:, :, source[0] : source[1], source[2] : source[3]]
    size = (target[1] - target[0], target[3] - target[2])
    expected = functional.interpolate(cut, size, mode="bilinear", align_corners=True)
    actual = resized_into(images, torch.tensor(source), torch.tensor(target))
    torch.testing.assert_close(
        actual[:, :, target[0] : target[1], target[2] : target[3]], expected, rtol=1e-5, atol=1e-5
    )


def slow_map(net: PooledNet, image: Tensor, label: int) -> np.ndarray:
    """The semantic percent map of one image from the head's weights."""
    features = net.features(image[None]).spatial[0].detach()
    evidence = sum(net.weight[label, channel].detach() * features[channel] for channel in range(len(features)))
    large = functional.interpolate(evidence[None, None], image.shape[1:], mode="bilinear", align_corners=False)[0, 0]
    large = large.double().numpy() - large.min().item()
    return large / large.sum()


def check_loss_equals_a_loop(method: Method) -> None:
    images, labels = normalise(photographs(5, 3, 16, 24)), torch.tensor([0, 4, 2, 2, 1])
    method, net = set_up(method, images)
    for key in KEYS[:3]:
        draws = method.draw(key, shape_of(images))
        loss, mixed = step(method, net, (images,), labels, draws)
        (top, bottom, left, right), (up, down, west, east) = draws["box"].tolist(), draws["source"].tolist()
        losses, kept = [], []
        for i in range(5):
            j = int(draws["permutation"][i])
            patch = images[j : j + 1, :, up:down, west:east]
            patch = functional.interpolate(patch, (bottom - top, right - left), mode="bilinear", align_corners=True)
            expected = images[i : i + 1].clone()
            expected[:, :, top:bottom, left:right] = patch
            torch.testing.assert_close(mixed[i : i + 1], expected, rtol=1e-5, atol=1e-5)
            own = 1 - slow_map(net, images[i], int(labels[i]))[top:bottom, left:right].sum()
            partner = slow_map(net, images[j], int(labels[j]))[up:down, west:east].sum()
            logits = net(expected)
            losses.append(own * cross_entropy(logits, labels[[i]]) + partner * cross_entropy(logits, labels[[j]]))
            kept.append(own)
        torch.testing.assert_close(loss.total, torch.cat(losses).mean().float(), rtol=1e-4, atol=1e-5)
        assert loss.parts["share_kept"].item() == pytest.approx(float(np.mean(kept)), abs=1e-5)


def test_loss_equals_a_loop() -> None:
    check_loss_equals_a_loop(SnapMix())


def test_maps_are_cam_up_to_the_number_of_positions_and_leave_no_gradient() -> None:
    images, labels = normalise(photographs(3, 3, 16, 12)), torch.tensor([1, 0, 3])
    net = PooledNet()
    maps = class_maps(net, images, labels)  # type: ignore[arg-type]
    features = net.features(images).spatial
    cam = torch.stack([torch.einsum("c,chw->hw", net.weight[labels[i]], features[i]) for i in range(3)])
    torch.testing.assert_close(maps * 12, cam.detach(), rtol=1e-5, atol=1e-5)
    assert all(parameter.grad is None for parameter in net.parameters())


class OneBox(SnapMix):
    """Source and target are the same box."""

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        draws = super().draw(key, shape)
        return Draws(tensors={**draws.tensors, "source": draws["box"]})


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (2, 1, 8, 12), (7, 3, 16, 8)])
def test_without_contrast_the_label_weight_is_the_pasted_area(shape: tuple[int, int, int, int]) -> None:
    check_mean_pixel_is_the_label(OneBox(), shape, KEYS)


@CASES
@given(st.integers(1, 5), st.integers(1, 5), st.data())
def test_shares_are_shares(height: int, width: int, data: st.DataObject) -> None:
    maps = torch.randn(3, height, width, generator=torch.Generator().manual_seed(height * 10 + width))
    size = (height + 3, width + 5)
    whole = share_inside(maps, torch.tensor([0, size[0], 0, size[1]]), size)
    torch.testing.assert_close(whole, torch.ones(3))
    top, bottom, left, right = box_of(data, *size)
    parts = share_inside(maps, torch.tensor([top, bottom, left, right]), size)
    assert (parts >= 0).all()
    assert (parts <= 1 + 1e-6).all()
    above, below = (
        share_inside(maps, torch.tensor(box), size) for box in ([top, bottom, 0, left], [top, bottom, left, size[1]])
    )
    torch.testing.assert_close(above + below, share_inside(maps, torch.tensor([top, bottom, 0, size[1]]), size))


@pytest.mark.parametrize("method", [SnapMix(alpha=0.0), SnapMix(probability=0.0)])
def test_unmixed_is_plain_training(method: SnapMix) -> None:
    images, labels = normalise(photographs(4, 3, 8, 12)), torch.tensor([0, 1, 2, 3])
    method, net = set_up(method, images)  # type: ignore[assignment]
    loss, mixed = step(method, net, (images,), labels, method.draw(KEYS[0], shape_of(images)))
    assert torch.equal(mixed, images)
    assert loss.total.item() == cross_entropy(net(images), labels).mean().item()
    assert loss.parts["share_kept"] == 1


def test_mean_share_of_maps_without_contrast_is_the_integral() -> None:
    """A side of u = sqrt(1 - lam) around a uniform centre is u - u^2/4 on average once clipped; lam ~ Beta(5, 5)."""
    beta = stats.beta(5, 5)

    def clipped(lam: float) -> float:
        u = math.sqrt(1 - lam)
        return beta.pdf(lam) * (u - u * u / 4) ** 2

    expected = 1 - integrate.quad(clipped, 0, 1)[0]
    shape = BatchShape(1, 3, 64, 64)
    shares = [share_outside(SnapMix().draw(Key("mean", n), shape)["box"], 64, 64).item() for n in range(3000)]
    assert abs(np.mean(shares) - expected) < 4 * np.std(shares) / math.sqrt(3000)


def test_the_two_boxes_are_alike_in_law_and_have_nothing_in_common() -> None:
    shape, ends = BatchShape(1, 3, 64, 64), ("box", "source")
    drawn = [SnapMix().draw(Key("two", number), shape) for number in range(600)]
    boxes = [torch.stack([draws[name] for draws in drawn]).double() for name in ends]
    centres = [(box[:, ::2] + box[:, 1::2]) / 2 for box in boxes]
    areas = [(box[:, 1] - box[:, 0]) * (box[:, 3] - box[:, 2]) for box in boxes]
    assert stats.ks_2samp(areas[0].numpy(), areas[1].numpy()).pvalue > 1e-3
    together = torch.stack([*centres[0].T, areas[0], *centres[1].T, areas[1]])
    assert torch.corrcoef(together)[:3, 3:].abs().max() < 4 / 600**0.5


def test_networks_without_a_map_are_refused() -> None:
    images = photographs(2, 3, 16, 16)
    method, net = set_up(SnapMix(), images)
    assert method.skip(net, method.task) is None
    _, blind = set_up(SnapMix(), images, reads_map=False)
    assert "no class activation map" in str(method.skip(blind, method.task))
    _, coarse = set_up(SnapMix(), images, stride=16)
    assert "1x1" in str(method.skip(coarse, method.task))


right_share = share_inside


def wrong_class(backbone: Any, images: Tensor, labels: Tensor) -> Tensor:
    return class_maps(backbone, images, (labels + 1) % 5)


FAULTS = {
    "area instead of evidence": ("share_inside", lambda maps, box, size: right_share(maps * 0, box, size)),
    "maps of another class": ("class_maps", wrong_class),
    "boxes exchanged": ("resized_into", lambda images, source, target: resized_into(images, target, target)),
    "evidence not enlarged but transposed": (
        "share_inside",
        lambda maps, box, size: right_share(maps.transpose(1, 2), box, size),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapmix, *FAULTS[fault])
    with pytest.raises(AssertionError):
        check_loss_equals_a_loop(SnapMix())


def test_partner_not_permuted_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    guide = SnapMix.guide

    def unpermuted(self: SnapMix, backbone: Any, batch: Any, draws: Draws) -> Any:
        same = {**draws.tensors, "permutation": torch.arange(len(batch.labels))}
        return guide(self, backbone, batch, Draws(tensors=same))

    monkeypatch.setattr(SnapMix, "guide", unpermuted)
    with pytest.raises(AssertionError):
        check_loss_equals_a_loop(SnapMix())
