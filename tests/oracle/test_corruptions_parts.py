"""The parts that corruptions are made of, against loops, Pillow, SciPy and a shortest-path search."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import sparse, stats
from scipy.sparse.csgraph import dijkstra

from bench.evals.corruption_ops.blur import copy_sources, defocus_kernel
from bench.evals.corruption_ops.edges import chamfer_distance, equalise
from bench.evals.corruption_ops.operators import box_shrink_or_grow
from bench.evals.corruption_ops.plasma import plasma
from bench.evals.corruption_ops.poisson import alias_table


@pytest.mark.parametrize(("reach", "rounds"), [(1, 1), (1, 2), (2, 3), (4, 2)])
def test_glass_copies_pixels_and_does_not_swap_them(reach: int, rounds: int) -> None:
    size, generator = 24, np.random.default_rng(reach)
    offsets = generator.integers(-reach, reach, (3, rounds, size, size, 2))
    ours = copy_sources(torch.from_numpy(offsets), reach)
    for number in range(3):
        copied = np.arange(size * size).reshape(size, size)
        swapped = copied.copy()
        for step in range(rounds):
            for row in range(size - reach, reach, -1):
                for column in range(size - reach, reach, -1):
                    down, right = offsets[number, step, row, column]
                    there = (row + down, column + right)
                    copied[row, column] = copied[there]
                    swapped[row, column], swapped[there] = swapped[there], swapped[row, column]
        assert ours[number].tolist() == copied.flatten().tolist()
        assert ours[number].tolist() != swapped.flatten().tolist()


@pytest.mark.parametrize("sizes", [(32, 30), (32, 20), (30, 32), (64, 57), (224, 67), (67, 224), (224, 134), (50, 50)])
def test_box_resampling_is_pillows(sizes: tuple[int, int]) -> None:
    size, target = sizes
    image = np.random.default_rng(3).integers(0, 256, (size, size), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((target, target), Image.Resampling.BOX))
    levels = torch.from_numpy(image)[None, None].float()
    ours = box_shrink_or_grow(box_shrink_or_grow(levels, target, 3), target, 2)
    assert np.array_equal(ours[0, 0].numpy(), expected)


def test_alias_tables_hold_the_distribution() -> None:
    mass = stats.poisson.pmf(np.arange(64), 17.3)
    share, other = alias_table(mass)
    rebuilt = (share + np.bincount(other, 1 - share, minlength=64)) / 64
    np.testing.assert_allclose(rebuilt, mass / mass.sum(), atol=1e-15)
    assert share.min() >= 0
    assert share.max() <= 1


def test_chamfer_distance_is_the_shortest_path() -> None:
    size, generator = 12, np.random.default_rng(1)
    edges = generator.random((2, size, size)) < 0.03
    lengths = {(0, 1): 1, (1, 1): 91750 / 65536, (1, 2): 143976 / 65536}
    links = sparse.lil_matrix((size * size, size * size))
    for row, column in np.ndindex(size, size):
        for down, right in np.ndindex(5, 5):
            there = (row + down - 2, column + right - 2)
            length = lengths.get(tuple(sorted((abs(down - 2), abs(right - 2)))))
            if length and min(there) >= 0 and max(there) < size:
                links[row * size + column, there[0] * size + there[1]] = length
    ours = chamfer_distance(torch.from_numpy(edges), 4).numpy()
    for number in range(2):
        sources = np.flatnonzero(edges[number])
        expected = dijkstra(links.tocsr(), indices=sources, min_only=True).reshape(size, size)
        np.testing.assert_allclose(ours[number], expected.clip(max=4), rtol=1e-6)
        assert expected.max() > 4


def test_equalised_levels_are_spread_over_the_range() -> None:
    ramp = torch.arange(64).view(1, 8, 8) + 100
    assert equalise(ramp).flatten().tolist() == [round(255 * place / 63) for place in range(64)]
    flat = torch.full((1, 8, 8), 20)
    assert torch.equal(equalise(flat), flat)


@pytest.mark.parametrize(("radius", "total"), [(0.3, 1), (1.5, 1), (6.0, 1), (10.0, 1.010786)])
def test_defocus_kernels_are_symmetric(radius: float, total: float) -> None:
    """At radius 10 the disk fills its square, whose mirrored border makes the published blur 1 % too bright."""
    kernel = defocus_kernel(radius, 0.5)
    assert kernel.sum() == pytest.approx(total, abs=1e-5)
    np.testing.assert_allclose(kernel, kernel.T)
    np.testing.assert_allclose(kernel, kernel[::-1])


def test_plasma_spans_the_unit_range_and_needs_a_power_of_two() -> None:
    clouds = plasma(torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (3, 16, 16))), 2.0)
    assert clouds.amin(dim=(1, 2)).tolist() == [0, 0, 0]
    assert clouds.amax(dim=(1, 2)).tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="power of two, not 12"):
        plasma(torch.zeros(1, 12, 12), 2.0)
