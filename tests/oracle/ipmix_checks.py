"""IPMix one image, one chain and one pixel at a time: the slow reference of its views."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import ImageOps
from torch import Tensor

from methods.ipmix_procedural import IpMixProcedural
from methods.ops.ipmix_plan import Plan
from methods.ops.keys import Key
from methods.ops.white_noise import uniform
from tests.oracle.augmix_checks import with_strength
from tests.oracle.mixing_checks import MEAN, STD, normalise, ready, shape_of
from tests.oracle.pil_operations import NAMES, pil_operation, to_pil, to_tensor

PICTURES = 6
OPERATIONS = (*NAMES, "mirror", "invert")


def method_for(images: Tensor, **settings: Any) -> IpMixProcedural:
    method, _ = ready(IpMixProcedural(pictures=PICTURES, **settings), images)
    return method  # type: ignore[return-value]


def whole_image_step(image: Tensor, name: str, level: float, sign: int) -> Tensor:
    if name in ("mirror", "invert"):
        return to_tensor(getattr(ImageOps, name)(to_pil(image)))
    return to_tensor(pil_operation(to_pil(image), name, level, sign))


def patch_step(image: Tensor, picture: Tensor, plan: Plan, step: int, chain: int, noise: Tensor, wrap: bool) -> Tensor:
    """One patch, value by value."""
    result = image.clone()
    top, left, bottom, right = plan.box[step, chain].tolist()
    a, b = (float(power) for power in plan.powers[:, step, chain])
    way, chance = plan.mixing[step, chain], float(plan.share[step, chain])
    for channel in range(len(image)):
        for row in range(top, bottom):
            for column in range(left, right):
                p, q = int(image[channel, row, column]), int(picture[channel, row, column])
                if way >= 2:
                    drawn = float(noise[0 if way == 2 else channel, row, column])
                    result[channel, row, column] = p if drawn < chance else q
                    continue
                p, q = p / 255, q / 255
                value = (a * (2 * p - 1) + b * (2 * q - 1) + 1) / 2 if way == 0 else 0.0
                if way == 1:
                    value = (2 * p) ** a * max(2 * q, 1e-37) ** b / 2
                with np.errstate(over="ignore"):
                    level = np.trunc(np.float32(value) * np.float32(255))
                if wrap:
                    result[channel, row, column] = int(level) % 256 if abs(level) < 2**60 else 0
                else:
                    result[channel, row, column] = int(min(max(level, 0), 255))
    return result


def check_views(method: IpMixProcedural, images: Tensor, key: Key, strength: float | None = None) -> None:
    """All views against loops, given the draws; `strength`, if any, takes the place of the drawn ones."""
    shape = shape_of(images)
    draws, plan = with_strength(method.draw(key, shape), strength), method.plan(key, shape)
    views = method.views(images, normalise, draws)
    noise = {}
    for step in range(method.steps):
        taken = np.flatnonzero((plan.depth > step) & plan.patched & (plan.mixing[step] >= 2))
        values = uniform(draws["seeds"][step], torch.Size((len(taken), *images.shape[1:])))
        noise.update({(step, chain): values[place] for place, chain in enumerate(taken)})
    assert len(views) == (3 if method.jsd else 1)
    for v, view in enumerate(views[1:] if method.jsd else views):
        for i in range(shape.size):
            top, left = draws["corner"][i].tolist()
            picture = method.pictures[draws["picture"][i]][:, top : top + shape.height, left : left + shape.width]
            mixed = np.zeros(images.shape[1:])
            for k in range(method.width):
                chain = (v * method.width + k) * shape.size + i
                end = images[i]
                for step in range(plan.depth[chain]):
                    if plan.patched[chain]:
                        values = noise.get((step, chain), torch.empty(0))
                        end = patch_step(end, picture, plan, step, chain, values, method.overflow == "wrap")
                    else:
                        name = OPERATIONS[plan.operation[step, chain]]
                        end = whole_image_step(end, name, plan.level[step, chain], plan.sign[step, chain])
                mixed += float(draws["weights"][v, k, i]) * end.double().numpy()
            m = float(draws["m"][v, i])
            expected = ((1 - m) * images[i].double().numpy() + m * mixed) / 255
            assert np.abs(view[i].double().numpy() - (expected - MEAN) / STD).max() < 1e-4
