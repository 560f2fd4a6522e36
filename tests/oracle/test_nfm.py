"""Noisy Feature Mixup against Manifold Mixup and against a loop over values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from methods import nfm
from methods.api import Batch, BatchShape, Task
from methods.manifold_mixup import ManifoldMixup
from methods.nfm import NoisyFeatureMixup, disturbed
from methods.ops.keys import Key
from methods.ops.white_noise import draw_seeds
from tests.oracle.input_method_checks import check_label_faults_are_caught, check_labels_follow_pixels, take_step
from tests.oracle.mixing_checks import CLASSES, cross_entropy, normalise, photographs, ready, shape_of
from tests.oracle.nfm_checks import Stages, check_depth

KEYS = [Key("nfm", number) for number in range(30)]
SHAPE = BatchShape(5, 3, 8, 10)


def quiet(**settings: float) -> NoisyFeatureMixup:
    return NoisyFeatureMixup(additive=0.0, multiplicative=0.0, **settings)  # type: ignore[arg-type]


def test_without_noise_it_is_manifold_mixup_bit_for_bit() -> None:
    batch, backbone = Batch((normalise(photographs(5, 3, 8, 10)),), torch.tensor([0, 4, 2, 2, 1])), Stages()
    ours, theirs = quiet(), ManifoldMixup(alpha=1.0, deepest_stage=3)
    branches = set()
    for method in (ours, theirs):
        method.setup(backbone, Task(CLASSES, cross_entropy, (3, 8, 10)))  # type: ignore[arg-type]
    for key in KEYS:
        mine, other = ours.draw(key, SHAPE), theirs.draw(key, SHAPE)
        branches.add(mine.branch)
        assert mine.branch == other.branch
        assert ours.loss(backbone, batch, mine).total == theirs.loss(backbone, batch, other).total  # type: ignore[arg-type]
    assert branches == {"input", "stage1", "stage2", "stage3"}


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_hidden_features_equal_a_loop_over_values(stage: int) -> None:
    check_depth(NoisyFeatureMixup(), stage, (4, 3, 4, 5), Key("hidden", stage))


def test_input_noise_has_the_drawn_levels() -> None:
    images = torch.full((8, 3, 40, 40), 3.0)
    method, recorder = ready(NoisyFeatureMixup(deepest_stage=0), images)
    for number in range(3):
        draws = method.draw(Key("levels", number), shape_of(images))
        _, seen, _ = take_step(method, recorder, images, torch.zeros(8).long(), draws)
        scale, shift = draws["levels"].tolist()
        spread = (9 * scale**2 / 3 + shift**2) ** 0.5
        assert seen.mean().item() == pytest.approx(3.0, abs=5 * spread / seen.numel() ** 0.5)
        assert seen.std().item() == pytest.approx(spread, rel=0.03)


def test_levels_are_beta_2_5_and_depths_uniform() -> None:
    draws = [NoisyFeatureMixup().draw(Key("level", number), SHAPE) for number in range(800)]
    levels = torch.stack([draw["levels"] for draw in draws]).numpy()
    assert stats.kstest(levels[:, 0] / 0.2, stats.beta(2, 5).cdf).pvalue > 1e-3
    assert stats.kstest(levels[:, 1] / 0.4, stats.beta(2, 5).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(levels.T)[0, 1]) < 4 / 800**0.5
    counts = np.unique([draw.branch for draw in draws], return_counts=True)[1]
    assert len(counts) == 4
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("size", [1, 2, 5])
def test_labels_follow_pixels_without_noise(size: int) -> None:
    check_labels_follow_pixels(quiet(deepest_stage=0), (size, 1, 3, 5), KEYS)


def test_alpha_zero_keeps_the_noise_and_the_labels() -> None:
    images, labels = normalise(photographs(4, 3, 6, 9)), torch.tensor([0, 1, 2, 3])
    method, recorder = ready(NoisyFeatureMixup(alpha=0.0, deepest_stage=0), images)
    total, seen, parts = take_step(method, recorder, images, labels, method.draw(Key(0), shape_of(images)))
    assert not torch.equal(seen, images)
    torch.testing.assert_close(total, cross_entropy(recorder(seen), labels).mean())
    assert parts["share_kept"] == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_dtype_stays(dtype: torch.dtype) -> None:
    values = torch.ones(2, 3, dtype=dtype)
    assert disturbed(values, torch.tensor([0.1, 0.1]), draw_seeds(Key(0), 2)).dtype == dtype


def test_skips_backbones_with_too_few_stages() -> None:
    task = Task(CLASSES, cross_entropy, (3, 8, 10))
    assert NoisyFeatureMixup().skip(Stages(), task) is None  # type: ignore[arg-type]
    reason = NoisyFeatureMixup(deepest_stage=4).skip(Stages(), task)  # type: ignore[arg-type]
    assert reason == "mixes after stage 4, and the backbone has 3 stages"


def test_wrong_labels_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    check_label_faults_are_caught(nfm, lambda: quiet(deepest_stage=0), (6, 1, 4, 3), monkeypatch)


def test_planted_faults_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = nfm.disturbed
    faults = {
        "levels swapped": lambda values, levels, seeds: right(values, levels.flip(0), seeds),
        "one noise for all images": lambda values, levels, seeds: right(values[:1], levels, seeds).expand_as(values),
        "seeds of grid and tokens alike": lambda values, levels, seeds: right(values, levels, seeds * 0),
    }
    for fault in faults.values():
        with monkeypatch.context() as patched:
            patched.setattr(nfm, "disturbed", fault)
            with pytest.raises(AssertionError):
                check_depth(NoisyFeatureMixup(), 1, (4, 3, 4, 5), Key("hidden", 1))
