"""Batched warps against PIL's bilinear transform.

On x86-64 they agree bit for bit (measured over all cases below); a PIL that was compiled with fused multiply-adds may
round a pixel in a thousand the other way.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from methods.ops.affine import affine_bilinear, rotation_matrices
from methods.ops.augmix_plan import OPERATIONS, warp_matrices
from tests.oracle.mixing_checks import photographs
from tests.oracle.pil_operations import pil_operation, to_pil, to_tensor

IMAGES = {
    "photographs": photographs(4, 3, 32, 32),
    "odd sizes": photographs(3, 3, 33, 51, seed=1),
    "grey": photographs(3, 1, 47, 30, seed=2),
    "tiny": photographs(3, 3, 8, 5, seed=3),
    "thin": photographs(2, 3, 1, 19, seed=4),
}
LEVELS = np.concatenate([[0.1, 10.0], np.linspace(0.13, 9.97, 21)])


def assert_same(ours: Tensor, pil: Tensor) -> None:
    difference = (ours.int() - pil.int()).abs()
    assert (difference > 0).double().mean() <= 1e-3
    assert (difference <= 1).double().mean() >= 0.999


@pytest.mark.parametrize("images", IMAGES)
@pytest.mark.parametrize("name", OPERATIONS[:5])
def test_operation_equals_pil_at_every_level(images: str, name: str) -> None:
    for image in IMAGES[images]:
        cases = [(level, sign) for level in LEVELS for sign in (-1, 1)]
        operation = np.full(len(cases), OPERATIONS.index(name))
        signed = np.array([level * sign for level, sign in cases])
        matrices = torch.from_numpy(warp_matrices(operation, signed, *image.shape[1:]))
        ours = affine_bilinear(image.expand(len(cases), *image.shape), matrices)
        pil = torch.stack([to_tensor(pil_operation(to_pil(image), name, *case)) for case in cases])
        assert_same(ours, pil)


@pytest.mark.parametrize("shape", [(32, 32), (21, 34)])
def test_rotation_equals_pil_at_every_whole_degree(shape: tuple[int, int]) -> None:
    image = photographs(1, 3, *shape, seed=5)[0]
    degrees = np.array([d for d in range(-180, 181) if d % 90 or d == 0])
    ours = affine_bilinear(
        image.expand(len(degrees), *image.shape), torch.from_numpy(rotation_matrices(degrees, *shape))
    )
    pil = [to_pil(image).rotate(int(d), resample=Image.Resampling.BILINEAR) for d in degrees]
    assert_same(ours, torch.stack([to_tensor(rotated) for rotated in pil]))


def test_any_matrix_equals_pil() -> None:
    generator = np.random.default_rng(0)
    images = photographs(60, 3, 23, 31, seed=6)
    matrices = np.array([1, 0, 0, 0, 1, 0]) + generator.normal(size=(60, 6)) * [0.4, 0.4, 9, 0.4, 0.4, 9]
    ours = affine_bilinear(images, torch.from_numpy(matrices))
    pil = [
        to_pil(image).transform((31, 23), Image.Transform.AFFINE, tuple(m), resample=Image.Resampling.BILINEAR)
        for image, m in zip(images, matrices, strict=True)
    ]
    assert_same(ours, torch.stack([to_tensor(warped) for warped in pil]))


def test_each_image_gets_its_own_matrix_and_inputs_stay() -> None:
    images = photographs(5, 3, 16, 16)
    kept = images.clone()
    operation = np.arange(5)
    level = np.array([9.0, -8.0, 7.0, -6.0, 5.0])
    matrices = torch.from_numpy(warp_matrices(operation, level, 16, 16))
    ours = affine_bilinear(images, matrices)
    for index in range(5):
        alone = affine_bilinear(images[index : index + 1], matrices[index : index + 1])
        assert torch.equal(ours[index], alone[0])
    assert torch.equal(images, kept)


def test_identity_and_whole_shifts_are_exact() -> None:
    images = photographs(3, 3, 9, 12)
    matrices = torch.tensor([[1, 0, 0, 0, 1, 0], [1, 0, 3, 0, 1, 0], [1, 0, 0, 0, 1, -2]], dtype=torch.float64)
    ours = affine_bilinear(images, matrices)
    expected = images.clone()
    expected[1, :, :, :9], expected[1, :, :, 9:] = images[1, :, :, 3:], 0
    expected[2, :, 2:], expected[2, :, :2] = images[2, :, :7], 0
    assert torch.equal(ours, expected)
