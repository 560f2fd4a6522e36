"""Exact optima and slow forms of Co-Mixup's labelling, written from its definition with weights in place of labels."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix

Table = dict[tuple[int, ...], float]


def energy(labels: np.ndarray, unary: np.ndarray, between: np.ndarray) -> float:
    """Energy of one grid's labels (h, w); unary (h, w, L), between (L, L)."""
    height, width = labels.shape
    total = 0.0
    for r, c in itertools.product(range(height), range(width)):
        total += unary[r, c, labels[r, c]]
        total += between[labels[r, c], labels[r + 1, c]] if r + 1 < height else 0
        total += between[labels[r, c], labels[r, c + 1]] if c + 1 < width else 0
    return float(total)


def all_labellings(height: int, width: int, labels: int) -> np.ndarray:
    return np.array(list(itertools.product(range(labels), repeat=height * width)))


def least_by_enumeration(unary: np.ndarray, between: np.ndarray) -> tuple[float, np.ndarray]:
    """The least energy over all labellings, and the labels (h, w)."""
    height, width, count = unary.shape
    every = all_labellings(height, width, count)
    flat = unary.reshape(-1, count)
    totals = np.sum([flat[cell, every[:, cell]] for cell in range(height * width)], axis=0)
    for r, c in itertools.product(range(height), range(width)):
        cell = r * width + c
        if r + 1 < height:
            totals = totals + between[every[:, cell], every[:, cell + width]]
        if c + 1 < width:
            totals = totals + between[every[:, cell], every[:, cell + 1]]
    best = int(totals.argmin())
    return float(totals[best]), every[best].reshape(height, width)


def least_by_integer_program(unary: np.ndarray, between: np.ndarray) -> float:
    """The least energy over all labellings, as an integer program over cells' and neighbours' labels.

    A label that in no cell comes within four steps of the cheapest one is left out: giving up a cell's label costs at
    most one largest step for each of its neighbours.
    """
    height, width, _ = unary.shape
    near = unary <= unary.min(2, keepdims=True) + 4 * between.max()
    kept = np.flatnonzero(near.any((0, 1)))
    unary, between = unary[..., kept], between[np.ix_(kept, kept)]
    count, size = len(kept), height * width
    cells = np.arange(size).reshape(height, width)
    pairs = np.concatenate(
        [
            np.stack([cells[:-1].ravel(), cells[1:].ravel()], 1),
            np.stack([cells[:, :-1].ravel(), cells[:, 1:].ravel()], 1),
        ]
    )
    costs = np.r_[unary.ravel(), np.tile(between.ravel(), len(pairs))]
    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    limits: list[float] = []

    def equal(entries: list[tuple[int, float]], limit: float) -> None:
        for column, value in entries:
            rows.append(len(limits))
            columns.append(column)
            values.append(value)
        limits.append(limit)

    for cell in range(size):
        equal([(cell * count + label, 1.0) for label in range(count)], 1.0)
    for number, (one, other) in enumerate(pairs):
        first = size * count + number * count**2
        for label in range(count):
            equal([(one * count + label, -1.0), *((first + label * count + k, 1.0) for k in range(count))], 0.0)
            equal([(other * count + label, -1.0), *((first + k * count + label, 1.0) for k in range(count))], 0.0)
    matrix = coo_matrix((values, (rows, columns)), shape=(len(limits), len(costs))).tocsr()
    whole = np.r_[np.ones(size * count), np.zeros(len(costs) - size * count)]
    found = milp(
        costs, integrality=whole, bounds=Bounds(0, 1), constraints=LinearConstraint(matrix, limits, limits),  # type: ignore[arg-type]
        options={"mip_rel_gap": 1e-9},
    )  # fmt: skip
    assert found.success, found.message
    return float(found.fun)


def slow_many(unary: np.ndarray, between: np.ndarray, candidates: int, near: float) -> np.ndarray:
    """The best labelling (h, w) by the most promising labels, settled by two turns over the cells."""
    height, width, count = unary.shape
    cells = list(itertools.product(range(height), range(width)))

    def beside(r: int, c: int) -> list[tuple[int, int]]:
        return [cell for cell in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)) if cell in cells]

    promise = np.zeros(count)
    for cell in cells:
        paid = np.array(
            [
                unary[cell][label] + sum((unary[other] + between[:, label]).min() for other in beside(*cell))
                for label in range(count)
            ]
        )
        promise += np.maximum(paid.min() + near * between.max() - paid, 0)
    kept = np.argsort(-promise, kind="stable")[:candidates]
    labels = kept[least_by_enumeration(unary[..., kept], between[np.ix_(kept, kept)])[1]]
    for turn in (0, 1):
        for cell in cells:
            if sum(cell) % 2 == turn:
                prices = unary[cell] + sum(between[labels[other]] for other in beside(*cell))
                labels[cell] = int(np.argmin(prices))
    return labels


def least_of_outputs(cost: np.ndarray, step: float, gamma: float, outputs: int) -> float:
    """The least sum of cost, `step` for neighbours that differ and gamma * o_j . o_j' for j != j' over `outputs` outputs.

    cost: (h, w, M). As images interact through their numbers of blocks alone, an exact table of the least cost of one
    output by these numbers is enough.
    """
    table = _least_by_numbers(cost, step)
    numbers = np.array(list(table), dtype=float)
    least = np.array(list(table.values()))
    overlap = 2 * gamma * numbers @ numbers.T
    if outputs == 2:
        return float((least[:, None] + least + overlap).min())
    rest = least[:, None] + least + overlap
    return float(min((least[i] + rest + overlap[i][:, None] + overlap[i]).min() for i in range(len(least))))


def _least_by_numbers(cost: np.ndarray, step: float) -> Table:
    height, width, count = cost.shape
    states: dict[tuple[int, ...], Table] = {(): {(0,) * count: 0.0}}
    for r, c in itertools.product(range(height), range(width)):
        following: dict[tuple[int, ...], Table] = {}
        for recent, table in states.items():
            for label in range(count):
                price = cost[r, c, label]
                price += step if c and recent[-1] != label else 0
                price += step if r and recent[0] != label else 0
                target = following.setdefault((*recent, label)[-width:], {})
                for numbers, value in table.items():
                    more = (*numbers[:label], numbers[label] + 1, *numbers[label + 1 :])
                    target[more] = min(target.get(more, np.inf), value + price)
        states = following
    found: Table = {}
    for table in states.values():
        for numbers, value in table.items():
            found[numbers] = min(found.get(numbers, np.inf), value)
    return found


def slow_closeness(saliency: np.ndarray, omega: float, window: int = 8) -> np.ndarray:
    """A of the images of one part, from their saliency maps (m, H, W)."""
    count, height, width = saliency.shape
    tall, wide = min(window, height), min(window, width)
    places = []
    for image in saliency:
        means = {
            (r, c): image[r : r + tall, c : c + wide].mean()
            for r in range(height - tall + 1)
            for c in range(width - wide + 1)
        }
        places.append(max(means, key=lambda place: means[place]))
    apart = np.array([[abs(p[0] - q[0]) + abs(p[1] - q[1]) for q in places] for p in places], dtype=float)
    if apart.sum() == 0:
        return np.eye(count)
    return (1 - omega) * np.eye(count) + omega * count * apart / apart.sum()


def slow_outputs(
    saliency: np.ndarray, prior: np.ndarray, start: np.ndarray, blocks: int, rules: dict[str, Any]
) -> tuple[np.ndarray, set[str]]:
    """Weights (m, b, b, m) of each block of each output over the images of one part, and which rules mattered.

    saliency: (m, H, W). prior: (m,). start: (m, b, b). Every output is labelled by trying all labellings.
    """
    count, height, width = saliency.shape
    n = blocks**2
    means = saliency.reshape(count, blocks, height // blocks, blocks, width // blocks).mean((2, 4))
    cost = np.stack([-mean / mean.sum() for mean in means], -1) - rules["eta"] / n * np.log(prior + 1e-8)
    near = slow_closeness(saliency, rules["omega"])
    z = np.eye(count)[start]
    avoid = np.zeros((count, count))
    mattered: set[str] = set()
    for sweep in range(rules["sweeps"]):
        for j in range(count):
            reach = near @ sum((z[other].sum((0, 1)) for other in range(count) if other != j), np.zeros(count))
            limited = np.where(reach > rules["threshold"] * n, reach, 0)
            mattered |= {"threshold"} if 0 < np.count_nonzero(limited) < count else set()
            price = 2 * rules["gamma"] / n * limited + rules["gamma"] / n * avoid[j]
            choices = [(np.eye(count)[i], cost[..., i] + price[i]) for i in range(count)]
            numbers = z[j].sum((0, 1))
            if sweep:
                for one, other in itertools.combinations(sorted(range(count), key=lambda i: -numbers[i])[:3], 2):
                    if numbers[one] > 0 and numbers[other] > 0:
                        mean = (choices[one][1] + choices[other][1]) / 2
                        choices.append(((choices[one][0] + choices[other][0]) / 2, mean - 5e-4))
            weights = [weight for weight, _ in choices]
            steps = [[_difference(one, other) for other in weights] for one in weights]
            unary = np.stack([price for _, price in choices], -1)
            _, labels = least_by_enumeration(unary, rules["beta"] / n * np.array(steps))
            z[j] = np.array(weights)[labels]
            mattered |= {"halves"} if (z[j] == 0.5).any() else set()
        if sweep == rules["sweeps"] - 2:
            sets = [tuple(np.flatnonzero(z[j].sum((0, 1)))) for j in range(count)]
            for i, j in itertools.combinations(range(count), 2):
                if sets[i] == sets[j] and len(sets[i]) > 1:
                    avoid[i, sets[i][0]] = avoid[j, sets[j][1]] = 1
                    mattered.add("same images")
    return z, mattered


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    """0 for equal weights, 1/4 between an image and a half of it, else 1."""
    if (one == other).all():
        return 0.0
    whole = one.max() != other.max()
    return 0.25 if whole and one @ other > 0 else 1.0
