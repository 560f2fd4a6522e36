"""Plasma clouds by the diamond-square algorithm (Fournier, Fussell, Carpenter 1982), for fog."""

from __future__ import annotations

from torch import Tensor


def plasma(field: Tensor, decay: float) -> Tensor:
    """Clouds (B, S, S) in [0, 1], wrapped at the edges; S is a power of two.

    field (B, S, S): uniform in [-1, 1), one number a cell; the corner cell is 0 and takes none. A cell is the mean of
    four known ones plus roughness squared times its number; roughness starts at 100 and is divided by `decay` from
    scale to scale.
    """
    size = field.shape[1]
    if size & (size - 1):
        raise ValueError(f"plasma needs a power of two, not {size}")
    clouds = field.new_zeros(field.shape)
    roughness, step = 100.0, size
    while step >= 2:
        half = step // 2
        amount = roughness**2
        corner = clouds[:, ::step, ::step]
        below = corner + corner.roll(-1, 1)
        clouds[:, half::step, half::step] = (below + below.roll(-1, 2)) / 4 + amount * field[:, half::step, half::step]
        centre = clouds[:, half::step, half::step]
        sides = centre + centre.roll(1, 1) + corner + corner.roll(-1, 2)
        clouds[:, ::step, half::step] = sides / 4 + amount * field[:, ::step, half::step]
        sides = centre + centre.roll(1, 2) + corner + corner.roll(-1, 1)
        clouds[:, half::step, ::step] = sides / 4 + amount * field[:, half::step, ::step]
        roughness /= decay
        step = half
    clouds -= clouds.amin(dim=(1, 2), keepdim=True)
    return clouds / clouds.amax(dim=(1, 2), keepdim=True)
