"""References in NumPy float64 and checks of AlignMix, for the tests and for the planted faults that must fail them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from methods import alignmix
from methods.alignmix import TO_FIRST, TO_SECOND, AlignMix
from methods.api import Batch, Draws, Edit, FeatureMap, Task
from methods.ops.keys import Key

DIRECTIONS = (TO_FIRST, TO_SECOND)


class TinyBackbone(nn.Module):
    """Two convolutions of stride 2, the stages, then a head (average pooling and a linear layer by default)."""

    stages = ("early", "late")

    def __init__(self, head: nn.Module | None = None, width: int = 6, num_classes: int = 5, tokens: int = 0) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.channels, self.tokens = width, tokens
        self.early = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.late = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.tail = head or nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes))
        random = Key("tiny backbone").generator()
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.from_numpy(random.normal(size=parameter.shape) * 0.5))

    def forward(self, images: Tensor, edit: Mapping[int, Edit] | None = None) -> Tensor:
        edits = {stage % 2: function for stage, function in (edit or {}).items()}
        spatial = images
        for stage, layer in enumerate((self.early, self.late)):
            spatial = torch.relu(layer(spatial))
            if stage in edits:
                prefix = spatial.mean((2, 3))[:, None].repeat(1, self.tokens, 1) if self.tokens else None
                spatial, prefix = edits[stage](FeatureMap(spatial, prefix))
                if prefix is not None:
                    spatial = spatial + prefix.mean(1)[:, :, None, None]
        return self.tail(spatial)

    def features(self, images: Tensor, stage: int = -1) -> FeatureMap:
        early = torch.relu(self.early(images))
        return FeatureMap(early if stage % 2 == 0 else torch.relu(self.late(early)), None)

    def head(self, features: FeatureMap) -> Tensor:
        return self.tail(features.spatial)

    def width(self, stage: int = -1) -> int:
        return self.channels

    def reduction(self, stage: int = -1) -> int:
        return (2, 4)[stage]

    def probe(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def task(shape: tuple[int, int, int] = (3, 16, 16)) -> Task:
    return Task(5, lambda logits, labels: functional.cross_entropy(logits, labels, reduction="none"), shape)


def batch(size: int = 6, shape: tuple[int, int, int] = (3, 16, 16)) -> Batch:
    random = Key("images", size).generator()
    images = torch.from_numpy(random.normal(size=(size, *shape)).astype(np.float32))
    return Batch((images,), torch.from_numpy(random.integers(0, 5, size)))


def draws(branch: str, size: int = 6, lam: float = 0.3) -> Draws:
    permutation = torch.from_numpy(Key("permutation", size).generator().permutation(size))
    return Draws(branch, {"lam": torch.tensor(lam), "permutation": permutation})


def uneven_maps(count: int, channels: int, positions: int, *path: int | str) -> Tensor:
    """(count, channels, positions) float32 like a trained network's last map: at least 0, few factors, heavy tails."""
    random = Key("uneven maps", *path).generator()
    factors = random.normal(size=(count, channels, 8))
    loudness = np.exp(random.normal(size=(count, 1, positions)))
    weights = np.abs(random.normal(size=(count, 8, positions))) ** 1.5 * loudness
    noise = 0.3 * random.normal(size=(count, channels, positions))
    return torch.from_numpy(np.maximum(factors @ weights + noise, 0).astype(np.float32))


def slow_cost(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Squared L2 between columns, one pair of positions at a time."""
    cost = np.zeros((first.shape[1], second.shape[1]))
    for i in range(first.shape[1]):
        for j in range(second.shape[1]):
            cost[i, j] = sum((first[c, i] - second[c, j]) ** 2 for c in range(first.shape[0]))
    return cost


def slow_sinkhorn(
    costs: np.ndarray, epsilon: float, iterations: int, stop_below: float | None = None
) -> tuple[np.ndarray, int]:
    """Textbook loop over potentials u and v of a batch (B, n, m), rows first; the plans and the iterations done.

    stop_below: stop all once the batch mean of the summed change of u is below this.
    """
    count, n, m = costs.shape
    u, v = np.zeros((count, n)), np.zeros((count, m))

    def soft_minimum(values: np.ndarray) -> float:
        lowest = values.min()
        return lowest - epsilon * np.log(np.exp((lowest - values) / epsilon).sum())

    done = 0
    for _ in range(iterations):
        before = u.copy()
        for b in range(count):
            for i in range(n):
                u[b, i] = epsilon * np.log(1 / n) + soft_minimum(costs[b, i] - v[b])
            for j in range(m):
                v[b, j] = epsilon * np.log(1 / m) + soft_minimum(costs[b, :, j] - u[b])
        done += 1
        if stop_below is not None and np.abs(u - before).sum(1).mean() < stop_below:
            break
    return np.exp((u[:, :, None] + v[:, None, :] - costs) / epsilon), done


def slow_assignments(first: np.ndarray, second: np.ndarray, epsilon: float, iterations: int) -> np.ndarray:
    """R (B, r, r) of maps (B, C, r)."""
    costs = np.stack([slow_cost(a, b) for a, b in zip(first, second, strict=True)])
    return first.shape[2] * slow_sinkhorn(costs, epsilon, iterations)[0]


def slow_mix(first: np.ndarray, second: np.ndarray, assignment: np.ndarray, branch: str, lam: float) -> np.ndarray:
    """The paper's formula for one pair (C, r), position by position."""
    mixed = np.zeros(first.shape)
    for place in range(first.shape[1]):
        if branch == TO_FIRST:
            aligned = sum(assignment[place, j] * second[:, j] for j in range(second.shape[1]))
            mixed[:, place] = lam * first[:, place] + (1 - lam) * aligned
        else:
            aligned = sum(assignment[i, place] * first[:, i] for i in range(first.shape[1]))
            mixed[:, place] = lam * aligned + (1 - lam) * second[:, place]
    return mixed


def check_mixed_maps(branch: str, epsilon: float = 0.1, iterations: int = 5) -> None:
    """`mix_features` equals the slow reference, with rows so unconverged that the order of the passes shows."""
    maps = uneven_maps(4, 5, 6, "mixed").double() * 0.4
    drawn = draws(branch, 4)
    method = AlignMix(epsilon=epsilon, iterations=iterations)
    features = FeatureMap(maps.float().view(4, 5, 2, 3), None)
    mixed = method.mix_features(features, branch, drawn["permutation"], drawn["lam"])
    first, second = maps.numpy(), maps[drawn["permutation"]].numpy()
    assignments = slow_assignments(first, second, epsilon, iterations)
    assert np.abs(assignments.sum(2) - 1).max() > 0.05
    expected = np.stack([slow_mix(a, b, r, branch, 0.3) for a, b, r in zip(first, second, assignments, strict=True)])
    np.testing.assert_allclose(mixed.spatial.flatten(2).numpy(), expected, atol=2e-5)


def check_columns_of_assignment() -> None:
    """R is at least 0, its columns sum to 1 and its rows do not have to, at an official-scale cost."""
    maps = uneven_maps(3, 32, 9, "columns")
    assignment = AlignMix().assignment(maps, maps.flip(0))
    assert (assignment >= 0).all()
    assert (assignment.sum(1) - 1).abs().max() <= 1e-5
    assert (assignment.sum(2) - 1).abs().max() > 1e-2


def check_lam_edges() -> None:
    """lam = 1 is A or A R, lam = 0 is A' R^T or A', bit for bit where nothing is carried over."""
    maps = uneven_maps(4, 5, 6, "edges")
    permutation = draws(TO_FIRST, 4)["permutation"]
    partners = maps[permutation]
    method = AlignMix(epsilon=5.0)
    assignment = method.assignment(maps, partners)
    expected = {
        (TO_FIRST, 1.0): maps,
        (TO_FIRST, 0.0): torch.einsum("bcj,bij->bci", partners, assignment),
        (TO_SECOND, 1.0): torch.einsum("bci,bij->bcj", maps, assignment),
        (TO_SECOND, 0.0): partners,
    }
    for (branch, lam), value in expected.items():
        features = FeatureMap(maps.view(4, 5, 2, 3), None)
        mixed = method.mix_features(features, branch, permutation, torch.tensor(lam)).spatial.flatten(2)
        exact = value is maps or value is partners
        assert torch.equal(mixed, value) if exact else torch.allclose(mixed, value, rtol=1e-5, atol=1e-5), (branch, lam)


def check_no_gradient_through_plan(branch: str) -> None:
    """The gradient with respect to the maps is that of the mix with R a constant."""
    maps = uneven_maps(4, 5, 6, "gradient") * 0.2
    weights = torch.from_numpy(Key("weights").generator().normal(size=(4, 5, 6)))
    drawn = draws(branch, 4)
    lam, permutation = 0.3, drawn["permutation"]
    method = AlignMix(epsilon=2.0)
    leaf = maps.clone().requires_grad_()
    mixed = method.mix_features(FeatureMap(leaf.view(4, 5, 2, 3), None), branch, permutation, drawn["lam"])
    (gradient,) = torch.autograd.grad((mixed.spatial.flatten(2) * weights).sum(), leaf)

    constant = torch.from_numpy(slow_assignments(maps.numpy(), maps[permutation].numpy(), 2.0, 100))
    other = maps.double().requires_grad_()
    if branch == TO_FIRST:
        expected = lam * other + (1 - lam) * torch.einsum("bcj,bij->bci", other[permutation], constant)
    else:
        expected = lam * torch.einsum("bci,bij->bcj", other, constant) + (1 - lam) * other[permutation]
    (reference,) = torch.autograd.grad((expected * weights).sum(), other)
    assert torch.allclose(gradient.double(), reference, atol=1e-5)


def check_loss(branch: str) -> None:
    """The loss is lam * CE(y) + (1 - lam) * CE(y') of a float64 forward pass around the slow mix."""
    backbone, data, drawn = TinyBackbone(), batch(), draws(branch)
    method = AlignMix(epsilon=0.5)
    method.setup(backbone, task())
    total = method.loss(backbone, data, drawn).total.item()

    exact = TinyBackbone().double()
    permutation = drawn["permutation"]
    images = data.views[0].double()
    with torch.no_grad():
        if branch == alignmix.INPUT:
            logits = exact(0.3 * images + 0.7 * images[permutation])
        else:
            maps = exact.features(images).spatial
            first, second = maps.flatten(2).numpy(), maps[permutation].flatten(2).numpy()
            assignments = slow_assignments(first, second, 0.5, 100)
            pairs = zip(first, second, assignments, strict=True)
            mixed = np.stack([slow_mix(a, b, r, branch, 0.3) for a, b, r in pairs])
            logits = exact.head(FeatureMap(torch.from_numpy(mixed).view_as(maps), None))
    shares = torch.softmax(logits, 1).numpy()
    own, partner = data.labels.numpy(), data.labels[permutation].numpy()
    losses = [-0.3 * np.log(shares[i, own[i]]) - 0.7 * np.log(shares[i, partner[i]]) for i in range(6)]
    assert abs(total - np.mean(losses)) < 1e-4 * abs(np.mean(losses))
