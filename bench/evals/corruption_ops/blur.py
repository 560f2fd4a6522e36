"""Blurs: Gaussian, glass, defocus, motion, zoom. Images uint8 (B, C, H, W) in and out; draws come in."""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from bench.evals.corruption_ops.motion import motion_blur_levels
from bench.evals.corruption_ops.operators import apply_separable, gaussian_operator, gaussian_taps, zoom_operator
from bench.evals.corruption_ops.pixels import to_bytes, to_unit, to_unit64, truncated

FEW_TAPS, FEW_TERMS = 2, 49
"""Kernels up to this size are summed in the reference's order."""
NEGLIGIBLE = 1e-18
"""Weights below float64's last bit."""
JUMPS = 7
"""Pointer jumping follows chains of 2**7 copies; a chain of even 30 has a chance below 1e-11."""


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian of `sigma` pixels, cut at 4 sigma, borders repeated."""
    pixels = to_unit64(images)
    few = int(4 * sigma + 0.5) <= FEW_TAPS
    return truncated(_smooth_in_order(pixels, sigma) if few else smooth(pixels, sigma))


def smooth(pixels: Tensor, sigma: float) -> Tensor:
    """Gaussian smoothing of float64 images (..., H, W), cut at 4 sigma, borders repeated."""
    rows, columns = (gaussian_operator(side, sigma, pixels) for side in pixels.shape[-2:])
    return apply_separable(pixels, rows, columns)


def _smooth_in_order(pixels: Tensor, sigma: float) -> Tensor:
    """The same for float64 (B, C, H, W), summed in SciPy's order: where little is blurred most values stay whole."""
    weights = gaussian_taps(sigma)
    reach = len(weights) - 1
    for dim, border in ((2, (0, 0, reach, reach)), (3, (reach, reach, 0, 0))):
        size = pixels.shape[dim]
        padded = F.pad(pixels, border, mode="replicate")
        pixels = padded.narrow(dim, reach, size) * weights[0]
        for distance in range(reach, 0, -1):
            before, after = (padded.narrow(dim, start, size) for start in (reach - distance, reach + distance))
            pixels += (before + after).mul_(weights[distance])
    return pixels


def glass_blur(images: Tensor, strength: tuple[float, int, int], offsets: Tensor) -> Tensor:
    """Blur, let pixels be overwritten by near ones, blur again. strength: (sigma, reach, rounds).

    offsets (B, rounds, H, W, 2): the row and column in [-reach, reach) from which a pixel is overwritten.
    """
    sigma, reach, _ = strength
    source = copy_sources(offsets, reach)
    blurred = gaussian_blur(images, sigma).flatten(2)
    copied = blurred.gather(2, source[:, None].expand_as(blurred))
    return gaussian_blur(copied.view_as(images), sigma)


def copy_sources(offsets: Tensor, reach: int) -> Tensor:
    """Which pixel of the input each pixel of the output comes from, (B, H * W) int64 flat positions.

    The published loop runs over rows and columns from size - reach down to reach + 1 and means to swap a pixel with
    its neighbour; because of NumPy's views it overwrites the pixel and leaves the neighbour. A neighbour already
    visited in this round gives its new value, so chains form; they are resolved by pointer jumping.
    """
    count, rounds, height, width, _ = offsets.shape
    cells = torch.arange(height * width, device=offsets.device)
    row, column = cells // width, cells % width
    visited = (row > reach) & (row <= height - reach) & (column > reach) & (column <= width - reach)
    steps = offsets.flatten(2, 3)
    source = cells.expand(count, -1)
    for number in range(rounds):
        neighbour = cells + steps[:, number, :, 0] * width + steps[:, number, :, 1]
        neighbour = torch.where(visited, neighbour, cells)
        if reach > 1:
            neighbour = _chased(neighbour, visited)
        source = source.gather(1, neighbour)
    return source


def _chased(neighbour: Tensor, visited: Tensor) -> Tensor:
    """The end of each chain of copies within one round. With a reach of 1 no neighbour lies ahead: no chains."""
    count, size = neighbour.shape
    cells = torch.arange(size, device=neighbour.device)
    # A pointer below `size` leads on to a cell of this round's result, one above it ends at the round's input.
    chained = visited & visited[neighbour] & (neighbour > cells)
    ends = (cells + size).expand(count, -1)
    pointer = torch.cat((torch.where(chained, neighbour, neighbour + size), ends), dim=1)
    for _ in range(JUMPS):
        pointer = pointer.gather(1, pointer)
    return pointer[:, :size] - size


def defocus_blur(images: Tensor, strength: tuple[float, float]) -> Tensor:
    """Blur by a disk whose edge is softened by a small Gaussian; borders mirrored without repeating the edge pixel.

    strength: (radius, sigma of the softening).
    """
    kernel = defocus_kernel(*strength)
    reach = len(kernel) // 2
    padded = F.pad(to_unit64(images), (reach, reach, reach, reach), mode="reflect")
    few = np.count_nonzero(kernel) <= FEW_TERMS
    return truncated(_correlate_in_order(padded, kernel) if few else _correlate_by_fourier(padded, kernel))


@functools.lru_cache(maxsize=32)
def defocus_kernel(radius: float, sigma: float) -> np.ndarray:
    """The softened disk, cropped to its non-zero square: (2r + 1, 2r + 1) float32."""
    half, softener = (8, 1) if radius <= 8 else (int(radius), 2)
    squares = np.arange(-half, half + 1) ** 2
    disk = (squares[:, None] + squares <= radius**2).astype(np.float32)
    disk /= disk.sum()
    line = np.exp(-(np.arange(-softener, softener + 1) ** 2) / (2 * sigma**2))
    line = (line / line.sum()).astype(np.float32)
    for axis in (0, 1):
        disk = ndimage.correlate1d(disk, line, axis=axis, mode="mirror")
    disk[disk < NEGLIGIBLE] = 0
    inside = int(np.abs(np.argwhere(disk > 0) - half).max())
    return disk[half - inside : half + inside + 1, half - inside : half + inside + 1]


def _correlate_in_order(padded: Tensor, kernel: np.ndarray) -> Tensor:
    """Correlation of float64 images where the kernel fits inside, summed in OpenCV's order.

    The mean of 5 or 29 pixels is often a whole number, and the last bit decides what truncation makes of it.
    """
    height, width = padded.shape[2] - len(kernel) + 1, padded.shape[3] - len(kernel) + 1
    total = torch.zeros_like(padded[:, :, :height, :width])
    for (row, column), weight in np.ndenumerate(kernel):
        if weight > 0:
            total += padded[:, :, row : row + height, column : column + width] * float(weight)
    return total


def _correlate_by_fourier(padded: Tensor, kernel: np.ndarray) -> Tensor:
    """The same for a large symmetric kernel."""
    size, shape = len(kernel), padded.shape[2:]
    square = torch.from_numpy(kernel).to(padded)
    product = torch.fft.rfft2(padded) * torch.fft.rfft2(square, s=shape)
    return torch.fft.irfft2(product, s=shape)[:, :, size - 1 :, size - 1 :].contiguous()


def motion_blur(images: Tensor, strength: tuple[int, float], degrees: Tensor) -> Tensor:
    """Motion along a line, one direction an image. strength: (radius, sigma); degrees (B,) in [-45, 45)."""
    return motion_blur_levels(images.to(torch.float32), *strength, degrees).to(torch.uint8)


def zoom_blur(images: Tensor, strength: tuple[float, float]) -> Tensor:
    """Mean of the image and of its middle enlarged by 1, 1 + step, ... below end. strength: (end, step)."""
    factors = np.arange(1, *strength).tolist()
    pixels = to_unit(images) if images.device.type == "cpu" else to_unit64(images)
    total = pixels.clone()
    for factor in factors:
        operator = zoom_operator(images.shape[2], factor, pixels)
        total += apply_separable(pixels, operator, operator)
    return to_bytes(total.div_(len(factors) + 1))
