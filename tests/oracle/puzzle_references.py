"""Exact optima and slow forms of PuzzleMix's energy and transport."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import maximum_flow
from torch import Tensor

FINE = 1e8
"""Energies are about 1; maximum flow takes whole numbers below 2^31."""


def neighbours(height: int, width: int, down: np.ndarray, right: np.ndarray) -> list[tuple[int, int, float]]:
    """Pairs of cells, in reading order, with their weight."""
    pairs = [(r * width + c, (r + 1) * width + c, down[r, c]) for r in range(height - 1) for c in range(width)]
    return pairs + [(r * width + c, r * width + c + 1, right[r, c]) for r in range(height) for c in range(width - 1)]


def least_by_enumeration(unary: np.ndarray, down: np.ndarray, right: np.ndarray) -> tuple[float, np.ndarray]:
    """The least energy of one grid (h, w, L) over all labellings, and its labels."""
    height, width, count = unary.shape
    flat = unary.reshape(-1, count)
    every = np.array(list(itertools.product(range(count), repeat=height * width)))
    energy = sum(flat[cell, every[:, cell]] for cell in range(height * width))
    for one, other, weight in neighbours(height, width, down, right):
        energy = energy + weight * ((every[:, one] - every[:, other]) / (count - 1)) ** 2
    best = int(energy.argmin())
    return float(energy[best]), every[best].reshape(height, width)


def least_by_maximum_flow(unary: np.ndarray, down: np.ndarray, right: np.ndarray) -> float:
    """The least energy of one grid with two labels: the smallest cut."""
    height, width, _ = unary.shape
    size = height * width
    source, sink = size, size + 1
    edges = [(source, cell, cost) for cell, cost in enumerate(unary[..., 1].ravel())]
    edges += [(cell, sink, cost) for cell, cost in enumerate(unary[..., 0].ravel())]
    for one, other, weight in neighbours(height, width, down, right):
        edges += [(one, other, weight), (other, one, weight)]
    rows, columns, weights = zip(*edges, strict=True)
    capacity = np.rint(np.array(weights) * FINE).astype(np.int32)
    graph = coo_matrix((capacity, (rows, columns)), shape=(size + 2, size + 2)).tocsr()
    return maximum_flow(graph, source, sink).flow_value / FINE


def least_by_linear_program(unary: np.ndarray, down: np.ndarray, right: np.ndarray) -> float:
    """The least energy of one grid with convex terms: cells and pairs at least as dear as each of their segments."""
    height, width, count = unary.shape
    size, top = height * width, count - 1
    pairs = neighbours(height, width, down, right)
    entries: list[tuple[int, int, float]] = []
    limits: list[float] = []

    def bound(term: int, slopes: list[tuple[int, float]], constant: float) -> None:
        row = len(limits)
        entries.extend([(row, column, value) for column, value in [*slopes, (term, -1.0)]])
        limits.append(-constant)

    for cell, costs in enumerate(unary.reshape(size, count)):
        for label in range(top):
            slope = costs[label + 1] - costs[label]
            bound(size + cell, [(cell, slope)], costs[label] - slope * label)
    for number, (one, other, weight) in enumerate(pairs):
        for step in range(top):
            slope = weight * (2 * step + 1) / top**2
            constant = weight * step**2 / top**2 - slope * step
            for sign in (1.0, -1.0):
                bound(2 * size + number, [(one, sign * slope), (other, -sign * slope)], constant)
    rows, columns, values = zip(*entries, strict=True)
    variables = 2 * size + len(pairs)
    matrix = csr_matrix((values, (rows, columns)), shape=(len(limits), variables))
    weights = np.r_[np.zeros(size), np.ones(size + len(pairs))]
    bounds = [(0.0, float(top))] * size + [(None, None)] * (size + len(pairs))
    return float(linprog(weights, A_ub=matrix, b_ub=limits, bounds=bounds, method="highs").fun)


def slow_energy(
    mask: np.ndarray, saliency: np.ndarray, pixels: np.ndarray, lam: float, settings: dict[str, float], cell: int
) -> float:
    """The energy of one pair's mask (b, b) pixel by pixel; saliency (2, b, b) and pixels (2, C, H, W), own first."""
    side, levels = len(mask), settings["labels"] - 1
    height, width = pixels.shape[2] // side, pixels.shape[3] // side
    beta = settings["beta"] / (16 * side)
    small = pixels.reshape(2, -1, pixels.shape[2] // cell, cell, pixels.shape[3] // cell, cell).mean((3, 5))
    ways = [1, levels, 1] if levels == 2 else [1, 1]
    total = 0.0
    for r, c in itertools.product(range(side), repeat=2):
        z = mask[r, c]
        lost = round((1 - z) * levels)
        chance = ways[lost] * lam ** (levels - lost) * (1 - lam) ** lost
        total += z * saliency[1, r, c] + (1 - z) * saliency[0, r, c]
        total -= settings["eta"] / side**2 * np.log(chance)
        for down, right in ((1, 0), (0, 1)):
            if r + down >= side or c + right >= side:
                continue
            y = mask[r + down, c + right]
            torn = np.zeros((2, 2))
            for upper, lower in itertools.product((0, 1), repeat=2):
                differences = []
                for place in range((width if down else height) // cell):
                    if down:
                        row, column = (r + 1) * height // cell, c * width // cell + place
                        pair = small[upper, :, row - 1, column] - small[lower, :, row, column]
                    else:
                        row, column = r * height // cell + place, (c + 1) * width // cell
                        pair = small[upper, :, row, column - 1] - small[lower, :, row, column]
                    differences.append(np.abs(pair).mean())
                torn[upper, lower] = beta * settings["gamma"] * np.mean(differences)
            same, mixed = torn[0, 0] + torn[1, 1], torn[0, 1] + torn[1, 0]
            # the four costs at the corners of (z, y), linear in z and y but for (z - y)^2
            total += (z * (torn[0, 0] + torn[0, 1]) + (1 - z) * (torn[1, 1] + torn[1, 0])) / 2
            total += (y * (torn[0, 0] + torn[1, 0]) + (1 - y) * (torn[1, 1] + torn[0, 1])) / 2
            total += ((mixed - same) / 2 + beta) * (z - y) ** 2
    return total


def slow_transport(shown: np.ndarray, saliency: np.ndarray, distance_cost: float) -> list[int]:
    """The cell that each cell of one grid takes its content from."""
    height, width = shown.shape
    longer = max(height, width, 2) - 1
    cells = [(r, c) for r in range(height) for c in range(width)]
    prices = {
        (one, other): distance_cost * ((one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2) / longer**2
        - (saliency[one] if shown[other] else 0)
        for one in cells
        for other in cells
    }
    winners: dict[tuple[int, int], tuple[int, int]] = {}
    for _ in range(max(height, width)):
        wants = {one: min(cells, key=lambda other, one=one: prices[one, other]) for one in cells}
        winners = {}
        for place in cells:
            rivals = [one for one in cells if wants[one] == place]
            if rivals:
                winners[place] = min(rivals, key=lambda one, place=place: prices[one, place])
            for loser in rivals:
                if loser != winners[place]:
                    prices[loser, place] += 1
    return [cells.index(winners.get(place, place)) for place in cells]


def as_arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.double().numpy() for tensor in tensors]
