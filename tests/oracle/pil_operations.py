"""AugMix's operations one image at a time through PIL, from the plan alone: the slow reference of the batched ones."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from methods.ops.augmix_plan import Plan

NAMES = (
    "rotate", "shear_x", "shear_y", "translate_x", "translate_y", "autocontrast", "equalize", "posterize", "solarize",
)  # fmt: skip


def to_pil(image: Tensor) -> Image.Image:
    """uint8 (C, H, W), C 1 or 3, to mode L or RGB."""
    array = image.permute(1, 2, 0).numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def to_tensor(image: Image.Image) -> Tensor:
    """Mode L or RGB to uint8 (C, H, W)."""
    array = np.atleast_3d(np.asarray(image))
    return torch.from_numpy(array.copy()).permute(2, 0, 1)


def pil_operation(image: Image.Image, name: str, level: float, sign: int) -> Image.Image:
    """One operation at a level on the scale of 10."""
    if name == "autocontrast":
        return ImageOps.autocontrast(image)
    if name == "equalize":
        return ImageOps.equalize(image)
    if name == "posterize":
        return ImageOps.posterize(image, 4 - int(level * 4 / 10))
    if name == "solarize":
        return ImageOps.solarize(image, 256 - int(level * 256 / 10))
    if name == "rotate":
        return image.rotate(sign * int(level * 30 / 10), resample=Image.Resampling.BILINEAR)
    width, height = image.size
    shear = sign * level * 0.3 / 10
    coefficients = {
        "shear_x": (1, shear, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, shear, 1, 0),
        "translate_x": (1, 0, sign * int(level * (width / 3) / 10), 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, sign * int(level * (height / 3) / 10)),
    }
    return image.transform(image.size, Image.Transform.AFFINE, coefficients[name], resample=Image.Resampling.BILINEAR)


def pil_chain(image: Tensor, plan: Plan, chain: int) -> Tensor:
    """The end of one chain of the plan that starts from this image, uint8 (C, H, W)."""
    current = to_pil(image)
    for step in range(plan.depth[chain]):
        name = NAMES[plan.operation[step, chain]]
        current = pil_operation(current, name, float(plan.level[step, chain]), int(plan.sign[step, chain]))
    return to_tensor(current)
