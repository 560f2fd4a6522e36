"""The shipped data configs: valid, and with the statistics that they claim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.config.folders import ConfigFolders
from bench.config.sections import resolve_section
from bench.data.augment import resize
from bench.data.digits import load_digits_uint8
from bench.data.open import open_data
from bench.spec import DataSpec
from tests.unit.data_folders import write_folder

CONFIGS = sorted(path.stem for path in (Path(__file__).parents[2] / "configs" / "data").glob("*.yaml"))


def config(name: str) -> DataSpec:
    return resolve_section("data", name, "this test", ConfigFolders(), []).spec


def test_all_promised_configs_exist() -> None:
    assert {"digits", "cifar10", "cifar100", "tinyimagenet", "imagenet", "folder", "folder32"} <= set(CONFIGS)


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_are_valid_and_say_what_they_are(name: str) -> None:
    resolved = resolve_section("data", name, "this test", ConfigFolders(), [])
    assert resolved.title != name
    assert resolved.spec.root is None


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in ("digits", "cifar10", "cifar100")])
def test_folder_configs_open_a_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path / "cache"))
    root = write_folder(tmp_path / "data", width=20, height=15)
    spec = config(name).model_copy(update={"root": str(root), "workers": 0})
    images, labels = next(open_data(spec).train.epoch(0, 0, 4))
    assert images.shape == (4, 3, spec.resolution, spec.resolution)
    assert len(labels) == 4


def test_the_statistics_of_the_digits_are_those_of_what_the_network_sees() -> None:
    pixels, _ = load_digits_uint8()
    spec = config("digits")
    seen = resize(torch.from_numpy(pixels)[:, None], spec.resolution).double() / 255
    assert np.allclose([seen.mean(), seen.std()], [spec.mean[0], spec.std[0]], atol=5e-5)
