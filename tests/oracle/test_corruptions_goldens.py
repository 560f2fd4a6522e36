"""Every corruption, fed with given draws, against stored outputs of slow references on real photographs.

tests/golden/corruptions/make_goldens.py made them with NumPy, SciPy, scikit-image, OpenCV, Pillow and ImageMagick.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor

from bench.evals.corruption_ops import blur, colour, digital, noise, severities, weather
from bench.evals.corruption_ops.spatter import spatter
from methods.ops.keys import Key

GOLDENS = Path(__file__).parents[1] / "golden" / "corruptions" / "reference.npz"
COUNTS = {32: 8, 64: 4, 224: 2}
SAMPLES = 128
"""Channel values stored for each (size, corruption, severity)."""
BY_DISTRIBUTION = {"shot_noise", "impulse_noise"}
FLOORS = {"glass_blur": (0.99, 2)}
"""Share of equal values and largest difference in grey levels; (0.99, 1) unless it stands here."""
NAMES = sorted({*severities.STANDARD, *severities.EXTRA} - BY_DISTRIBUTION)


@functools.cache
def photographs(size: int) -> np.ndarray:
    """(N, size, size, 3) uint8: crops of scikit-learn's two photographs, shrunk for the small sizes."""
    side = {32: 128, 64: 256, 224: 224}[size]
    images = []
    for number in range(COUNTS[size]):
        photo = load_sample_image(("china.jpg", "flower.jpg")[number % 2])
        top, left = 37 * number % (photo.shape[0] - side), 83 * number % (photo.shape[1] - side)
        crop = Image.fromarray(photo[top : top + side, left : left + side])
        images.append(np.asarray(crop if side == size else crop.resize((size, size), Image.Resampling.BOX)))
    return np.stack(images)


def injected(corruption: str, severity: int, size: int) -> dict[str, np.ndarray]:
    """The draws that reference and product are both given."""
    generator = Key("golden", corruption, severity, size).generator()
    count = COUNTS[size]
    entry = severities.strength(corruption, severity, size)
    if corruption in ("gaussian_noise", "speckle_noise"):
        return {"noise": generator.normal(size=(count, size, size, 3)).astype(np.float32)}
    if corruption == "glass_blur":
        return {"offsets": generator.integers(-entry[1], entry[1], (count, entry[2], size, size, 2))}
    if corruption == "motion_blur":
        return {"degrees": generator.uniform(-45, 45, count)}
    if corruption == "snow":
        field = generator.normal(size=(count, size, size)).astype(np.float32)
        return {"field": field, "degrees": generator.uniform(-135, -45, count)}
    if corruption == "frost":
        return {"crops": generator.integers(0, 256, (count, size, size, 3), dtype=np.uint8)}
    if corruption == "fog":
        side = 1 << (size - 1).bit_length()
        return {"field": generator.uniform(-1, 1, (count, side, side)).astype(np.float32)}
    if corruption == "elastic_transform":
        corners = generator.uniform(-1, 1, (count, 3, 2)).astype(np.float32)
        return {"corners": corners, "field": generator.uniform(-1, 1, (count, 2, size, size)).astype(np.float32)}
    if corruption == "spatter":
        return {"field": generator.normal(size=(count, size, size)).astype(np.float32)}
    return {}


def positions(corruption: str, severity: int, size: int) -> np.ndarray:
    """Which values of the (N, size, size, 3) output are stored."""
    return Key("sampled", corruption, severity, size).generator().integers(0, COUNTS[size] * size * size * 3, SAMPLES)


def product(corruption: str, severity: int, size: int) -> np.ndarray:
    """The product's output (N, size, size, 3) for the injected draws."""
    images = torch.from_numpy(photographs(size)).permute(0, 3, 1, 2).contiguous()
    draws = {name: torch.from_numpy(values) for name, values in injected(corruption, severity, size).items()}
    entry = severities.strength(corruption, severity, size)
    channels_first = lambda values: values.permute(0, 3, 1, 2).contiguous()  # noqa: E731
    if corruption in ("gaussian_noise", "speckle_noise"):
        result = getattr(noise, corruption)(images, entry, channels_first(draws["noise"]))
    elif corruption == "frost":
        result = weather.frost(images, entry, channels_first(draws["crops"]))
    elif corruption == "elastic_transform":
        scaled = tuple(share * severities.ELASTIC_UNIT[size] for share in entry)
        result = digital.elastic_transform(images, scaled, **draws)
    elif corruption == "spatter":
        result = spatter(images, entry, **draws)
    else:
        module = next(module for module in (blur, weather, colour, digital) if hasattr(module, corruption))
        result = getattr(module, corruption)(images, entry, **draws)
    assert isinstance(result, Tensor)
    assert result.dtype == torch.uint8
    return result.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("size", sorted(severities.TABLES))
@pytest.mark.parametrize("corruption", NAMES)
def test_equals_the_reference(corruption: str, size: int) -> None:
    goldens = np.load(GOLDENS)[str(size)][NAMES.index(corruption)].astype(int)
    differences, changes = [], []
    for severity in range(1, 6):
        places = positions(corruption, severity, size)
        ours = product(corruption, severity, size)
        differences.append(np.abs(ours.reshape(-1)[places] - goldens[severity - 1]))
        changes.append((ours != photographs(size)).mean())
    found = np.concatenate(differences)
    equal, largest = FLOORS.get(corruption, (0.99, 1))
    assert (found == 0).mean() >= equal
    assert found.max() <= largest
    assert min(changes) > 0.01, "a corruption must change the photographs"
