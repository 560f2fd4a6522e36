"""What tables say about a whole set of corruptions. Pure; imports no torch.

A result set maps (corruption, severity) to top-1 accuracy in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.evals.corruption_ops.severities import STANDARD

Accuracies = Mapping[tuple[str, int], float]

ALEXNET_CLEAN_ERROR = 0.43478
ALEXNET_ERROR = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}
"""Top-1 error of AlexNet on ImageNet-C, mean over five severities, as published with AugMix; clean: torchvision's."""


def mean_accuracy(accuracies: Accuracies, corruptions: Sequence[str], severities: Sequence[int]) -> float:
    """Plain mean over all (corruption, severity). KeyError where one is missing."""
    cells = [accuracies[corruption, severity] for corruption in corruptions for severity in severities]
    return sum(cells) / len(cells)


def corruption_error(accuracies: Accuracies, corruption: str) -> float:
    """CE of one of the 15: (error summed over severities) / (AlexNet's), in [0, inf); 1 is AlexNet."""
    return _error(accuracies, corruption) / ALEXNET_ERROR[corruption]


def mean_corruption_error(accuracies: Accuracies) -> float:
    """mCE: mean of `corruption_error` over the 15."""
    return sum(corruption_error(accuracies, name) for name in STANDARD) / len(STANDARD)


def relative_mean_corruption_error(accuracies: Accuracies, clean_error: float) -> float:
    """Relative mCE: the same with each network's clean error taken off its errors first."""
    ratios = [
        (_error(accuracies, name) - clean_error) / (ALEXNET_ERROR[name] - ALEXNET_CLEAN_ERROR) for name in STANDARD
    ]
    return sum(ratios) / len(ratios)


def _error(accuracies: Accuracies, corruption: str) -> float:
    return 1 - mean_accuracy(accuracies, [corruption], range(1, 6))
