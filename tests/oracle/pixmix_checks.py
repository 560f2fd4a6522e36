"""PixMix one image and one round at a time in float64: the slow reference of its views."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from methods.ops.keys import Key
from methods.pixmix_procedural import PixMixProcedural
from tests.oracle.mixing_checks import MEAN, STD, normalise, ready, shape_of
from tests.oracle.pil_operations import pil_chain

PICTURES = 6


def method_for(images: Tensor, **settings: Any) -> PixMixProcedural:
    method, _ = ready(PixMixProcedural(pictures=PICTURES, **settings), images)
    return method  # type: ignore[return-value]


def check_views(images: Tensor, key: Key, **settings: Any) -> None:
    """All views against loops, given the draws."""
    method = method_for(images, **settings)
    shape = shape_of(images)
    draws = method.draw(key, shape)
    plan = method.plan(key, shape, draws["framed"].numpy())
    (view,) = method.views(images, normalise, draws)
    height, width = shape.height, shape.width
    for image in range(shape.size):
        top, left = draws["corner"][image].tolist()
        frame = method.pictures[draws["picture"][image]][:, top : top + height, left : left + width]
        mixed = pil_chain(images[image], plan, image).double().numpy() / 255
        for number in range(draws["count"][image]):
            if draws["framed"][number, image]:
                other = frame.double().numpy() / 255
            else:
                other = pil_chain(images[image], plan, (number + 1) * shape.size + image).double().numpy() / 255
            a, b = (float(power) for power in draws["powers"][:, number, image])
            if draws["multiplied"][number, image]:
                mixed = (2 * mixed) ** a * np.maximum(2 * other, 1e-37) ** b / 2
            else:
                mixed = (a * (2 * mixed - 1) + b * (2 * other - 1) + 1) / 2
            mixed = np.clip(mixed, 0, 1)
        assert np.abs(view[image].numpy() - (mixed - MEAN) / STD).max() < 1e-3
