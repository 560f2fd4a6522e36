"""JPEG compression, pixelation and elastic deformation. Images uint8 (B, 3, H, W) in and out; draws come in."""

from __future__ import annotations

import io

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from torch import Tensor

from bench.evals.corruption_ops.operators import apply_separable, box_shrink_or_grow, gaussian_operator
from bench.evals.corruption_ops.pixels import to_bytes, to_unit


def jpeg_compression(images: Tensor, quality: int) -> Tensor:
    """Through libjpeg by Pillow at a quality of 1 to 95, 4:2:0, one by one on the CPU.

    Codecs on a GPU give other pixels, and torchvision's are on their way out.
    """
    copies = np.empty((len(images), *images.shape[2:], 3), dtype=np.uint8)
    for number, image in enumerate(images.permute(0, 2, 3, 1).cpu().contiguous().numpy()):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        file.seek(0)
        copies[number] = np.asarray(JpegImageFile(file))
    return torch.from_numpy(copies).permute(0, 3, 1, 2).contiguous().to(images.device)


def pixelate(images: Tensor, share: float) -> Tensor:
    """Box-shrink to floor(share * size) pixels a side and box-enlarge again, 8 bits after each pass as Pillow does."""
    size = images.shape[2]
    small = int(size * share)
    levels = images.to(torch.float32)
    for target in (small, size):
        for dim in (3, 2):
            levels = box_shrink_or_grow(levels, target, dim)
    return levels.to(torch.uint8)


def elastic_transform(images: Tensor, strength: tuple[float, float, float], corners: Tensor, field: Tensor) -> Tensor:
    """A random affine map and then a smooth random displacement, bilinear both times.

    strength: (alpha, sigma, affine) in pixels. corners (B, 3, 2): uniform in [-1, 1), the shift of three anchor points
    (x, y) in units of `affine`. field (B, 2, H, W): uniform in [-1, 1), smoothed by sigma (cut at 3 sigma, borders
    reflected) and multiplied by alpha: displacement along x and y.
    """
    alpha, sigma, affine = strength
    height, width = images.shape[2:]
    warped = _sampled(to_unit(images), _affine_points(images.shape[2:], corners.double() * affine), align_corners=True)
    field = field.double()
    rows, columns = (gaussian_operator(side, sigma, field, "reflect", 3.0) for side in (height, width))
    displacement = apply_separable(field, rows, columns).mul_(alpha).float()
    points = torch.stack(_grid(height, width, images.device), dim=0).double() + displacement
    return to_bytes(_sampled(warped, points.permute(0, 2, 3, 1), align_corners=False))


def _grid(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return x, y


def _affine_points(shape: torch.Size, shift: Tensor) -> Tensor:
    """Where each output pixel comes from, (B, H, W, 2) as (x, y), when three anchors move by `shift` (B, 3, 2)."""
    height, width = shape
    middle, arm = torch.tensor([height // 2, width // 2], device=shift.device), min(height, width) // 3
    signs = torch.tensor([[1, 1], [1, -1], [-1, -1]], device=shift.device)
    anchors = (middle + arm * signs).double()
    ones = torch.ones(len(shift), 3, 1, device=shift.device, dtype=torch.float64)
    back = torch.linalg.solve(torch.cat((anchors + shift, ones), dim=2), anchors.expand(len(shift), 3, 2))
    x, y = _grid(height, width, shift.device)
    points = torch.stack((x, y, torch.ones_like(x)), dim=2).double().flatten(0, 1)
    return (points @ back).unflatten(1, (height, width))


def _sampled(pixels: Tensor, points: Tensor, align_corners: bool) -> Tensor:
    """Bilinear values at points (B, H, W, 2) in pixels; mirrored about border centres if align_corners, else edges."""
    sides = torch.tensor([pixels.shape[3], pixels.shape[2]], device=pixels.device)
    unit = points * 2 / (sides - 1) - 1 if align_corners else (points * 2 + 1) / sides - 1
    return F.grid_sample(pixels, unit.to(torch.float32), "bilinear", "reflection", align_corners=align_corners)
