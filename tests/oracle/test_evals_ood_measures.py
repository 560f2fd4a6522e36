"""Detection against pytorch-ood and slow loops; made-up images against their distributions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_ood.detector import EnergyBased, MaxLogit, MaxSoftmax
from pytorch_ood.metrics import OODMetrics
from scipy import ndimage, stats
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score
from torch import Tensor

from bench.evals.detection import Detection, detection, energy, maximum_logit, maximum_softmax
from bench.evals.draws import ImageDraws
from bench.evals.ood_ops.generated import BLOB_LEVEL, BLOB_SHARE, GENERATORS, generate
from methods.ops.keys import Key


def scores(known: int, unknown: int, digits: int, shift: float = 0.8) -> tuple[Tensor, Tensor]:
    generator = np.random.default_rng(known + unknown + digits)
    drawn = generator.normal(size=known), generator.normal(size=unknown) * 1.5 + shift
    first, second = (torch.from_numpy(values.round(digits)) for values in drawn)
    return first, second


CASES = [(500, 300, 12, 0.8), (400, 900, 1, 0.8), (60, 40, 0, -0.5), (1, 1, 3, 1.0), (20, 20, 12, 0.0)]


@pytest.mark.parametrize("case", CASES)
def test_measures_against_pytorch_ood(case: tuple[int, int, int, float]) -> None:
    known, unknown = scores(*case)
    metrics = OODMetrics()
    metrics.update(scores=torch.cat((known, unknown)), labels=torch.cat((known * 0, unknown * 0 - 1)).long())
    expected = metrics.compute()
    found = detection(known, unknown)
    assert found.auroc == pytest.approx(expected["AUROC"], abs=1e-12)
    assert found.aupr_in == pytest.approx(expected["AUPR-IN"], abs=1e-12)
    assert found.aupr_out == pytest.approx(expected["AUPR-OUT"], abs=1e-12)
    assert found.fpr95 == pytest.approx(expected["FPR95TPR"], abs=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_measures_against_scikit_learn_and_slow_loops(case: tuple[int, int, int, float]) -> None:
    known, unknown = scores(*case)
    found = detection(known, unknown)
    everything = torch.cat((known, unknown)).numpy()
    positive = np.arange(len(everything)) >= len(known)
    assert found.auroc == pytest.approx(roc_auc_score(positive, everything), abs=1e-12)
    for area, truth, sign in ((found.aupr_out, positive, 1), (found.aupr_in, ~positive, -1)):
        precision, recall, _ = precision_recall_curve(truth, sign * everything)
        assert area == pytest.approx(auc(recall, precision), abs=1e-12)
    flagged = []
    for threshold in sorted(set(everything.tolist()), reverse=True):
        if 20 * sum(value >= threshold for value in unknown.tolist()) >= 19 * len(unknown):
            flagged.append(sum(value >= threshold for value in known.tolist()) / len(known))
    assert found.fpr95 == flagged[0]


def test_the_conventions_are_told_apart() -> None:
    """The trapezoid is not average precision, and OOD as positive is not "keep 95 % of ID"."""
    known, unknown = scores(60, 45, 1)
    everything = torch.cat((known, unknown)).numpy()
    positive = np.arange(len(everything)) >= len(known)
    found = detection(known, unknown)
    assert abs(found.aupr_out - average_precision_score(positive, everything)) > 1e-4
    other = detection(-unknown, -known)
    assert other.auroc == pytest.approx(found.auroc)
    assert (other.aupr_in, other.aupr_out) == pytest.approx((found.aupr_out, found.aupr_in))
    assert abs(other.fpr95 - found.fpr95) > 0.02


def test_measures_of_perfect_reversed_and_constant_scores() -> None:
    low, high = torch.arange(10.0), torch.arange(10.0, 15.0)
    assert detection(low, high) == Detection(1, 1, 1, 0)
    assert detection(high, low)[0::3] == (0, 1)
    constant = detection(torch.zeros(30), torch.zeros(10))
    assert constant.auroc == 0.5
    assert constant.fpr95 == 1
    assert constant.aupr_out == pytest.approx((1 + 0.25) / 2)


def test_scores_against_pytorch_ood() -> None:
    logits = torch.from_numpy(np.random.default_rng(1).normal(size=(50, 7)) * 4)
    torch.testing.assert_close(maximum_softmax(logits), MaxSoftmax.score(logits))
    torch.testing.assert_close(energy(logits), EnergyBased.score(logits))
    torch.testing.assert_close(maximum_logit(logits), MaxLogit.score(logits))


def test_noise_has_its_distribution() -> None:
    positions = torch.arange(40)
    uniform = generate("uniform_noise", 3, positions, (3, 16, 16)).flatten().numpy()
    counts = np.bincount(uniform, minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-3
    normal = generate("gaussian_noise", 3, positions, (3, 16, 16)).flatten().numpy().astype(float)
    edges = stats.norm(127.5, 63.75).cdf(np.arange(255) + 0.5)
    expected = np.diff(np.concatenate(([0], edges, [1]))) * len(normal)
    assert stats.chisquare(np.bincount(normal.astype(int), minlength=256), expected).pvalue > 1e-3


def test_textures_by_a_slow_loop() -> None:
    shape, positions = (3, 6, 9), torch.tensor([4, 11])
    ours = generate("textures", 2, positions, shape)
    draws = ImageDraws(Key(2, "ood", "textures"), positions)
    frequency, angle, phase = (
        draws.uniform(name, 6, 1, 1).double().numpy()[:, :, 0, 0] for name in ("frequency", "angle", "phase")
    )
    colour = draws.normal("colour", 6, 3, 1, 1).double().numpy()[..., 0, 0]
    hardness, contrast = (draws.uniform(name, 1, 1, 1).double().flatten().numpy() for name in ("hardness", "contrast"))
    mean = draws.uniform("mean", 3, 1, 1).double().numpy()[..., 0, 0]
    for image, channel, row, column in np.ndindex(2, *shape):
        value = 0.0
        for wave in range(6):
            turn = np.pi * angle[image, wave]
            cycles = 3.0 ** frequency[image, wave]
            place = (row * np.sin(turn) + column * np.cos(turn)) / 9
            value += colour[image, wave, channel] * np.cos(2 * np.pi * (cycles * place + phase[image, wave]))
        value /= np.sqrt((colour[image, :, channel] ** 2).sum() / 2)
        gain = 0.5 * 16 ** hardness[image]
        level = 64 + 128 * mean[image, channel] + (32 + 64 * contrast[image]) * np.tanh(gain * value)
        assert ours[image, channel, row, column].item() == round(min(max(level, 0), 255))


def test_blobs_against_scipy() -> None:
    shape, positions = (1, 24, 24), torch.tensor([0, 7, 8])
    ours = generate("blobs", 5, positions, shape)
    ones = ImageDraws(Key(5, "ood", "blobs"), positions).uniform("ones", *shape).numpy() < BLOB_SHARE
    for image, seeds in zip(ours, ones, strict=True):
        smooth = ndimage.gaussian_filter(seeds[0].astype(float), 1.5 * 24 / 32, mode="nearest")
        expected = np.rint(255 * np.where(smooth >= BLOB_LEVEL, smooth, 0)).astype(np.uint8)
        assert np.array_equal(image[0].numpy(), expected)
        assert 0.05 < (expected > 0).mean() < 0.6


@pytest.mark.parametrize("kind", sorted(GENERATORS))
def test_an_image_hangs_on_seed_and_position_alone(kind: str) -> None:
    shape = (3, 12, 12)
    whole = generate(kind, 1, torch.arange(7), shape)
    assert whole.dtype == torch.uint8
    assert whole.shape == (7, *shape)
    some = torch.tensor([6, 2, 3])
    assert torch.equal(generate(kind, 1, some, shape), whole[some])
    assert not torch.equal(generate(kind, 2, some, shape), whole[some])
    assert len({image.numpy().tobytes() for image in whole}) == 7
    assert whole.float().std(dim=(1, 2, 3)).min() > 10
