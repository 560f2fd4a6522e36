"""Properties of methods whose views are made of one image each, whatever the batch's shape, settings and key."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from methods.api import Method
from methods.ops.keys import Key
from tests.oracle.mixing_checks import normalise, ready, shape_of

Build = Callable[[], Method]
Shape = tuple[int, int, int, int]


def shapes(smallest: int, largest: int) -> st.SearchStrategy[Shape]:
    """Batches of 1 to 5 images of one or three channels, square or not, with sides in [smallest, largest]."""
    sides = st.integers(smallest, largest)
    return st.tuples(st.integers(1, 5), st.sampled_from([1, 3]), sides, sides)


def noise_images(shape: Shape, seed: int) -> Tensor:
    """uint8 images of this shape: independent values, or only black and white ones."""
    generator = np.random.default_rng(seed)
    values = generator.choice([0, 255], shape) if generator.random() < 0.25 else generator.integers(256, size=shape)
    return torch.from_numpy(values.astype(np.uint8))


def views_of(build: Build, images: Tensor, key: Key) -> tuple[Tensor, ...]:
    """The views of a method that is made and set up anew."""
    method, _ = ready(build(), images)
    return method.views(images, normalise, method.draw(key, shape_of(images)))


def check_range(build: Build, images: Tensor, key: Key) -> None:
    """Views are finite, of the images' shape, and no darker than black and no brighter than white."""
    black, white = (normalise(torch.tensor(level)) for level in (0.0, 255.0))
    for view in views_of(build, images, key):
        assert view.shape == images.shape
        assert view.dtype == torch.float32
        assert torch.isfinite(view).all()
        assert view.min() >= black - 1e-4
        assert view.max() <= white + 1e-4


def check_key_alone_decides(build: Build, images: Tensor, key: Key) -> None:
    """The same key gives the same draws and views bit for bit, whatever the global generators do; another one not."""
    first = views_of(build, images, key)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - what a library's global generator holds is to change nothing
    again = views_of(build, images, key)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    method, _ = ready(build(), images)
    drawn = method.draw(key, shape_of(images)).tensors
    others = [method.draw(key.fold("other", number), shape_of(images)).tensors for number in range(4)]
    assert any(not torch.equal(drawn[name], other[name]) for other in others for name in drawn)


def check_other_images_change_nothing(build: Build, images: Tensor, key: Key) -> None:
    """With the same draws, the views of each image stay bit for bit when all other images become their negatives."""
    views = views_of(build, images, key)
    for place in range(len(images)):
        others = 255 - images
        others[place] = images[place]
        for view, changed in zip(views, views_of(build, others, key), strict=True):
            assert torch.equal(view[place], changed[place])
