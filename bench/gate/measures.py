"""What the gate reads of a run: accuracies in [0, 1], and digests that are equal only where every image came out alike.

Reports read more and round it; here a number must be the same on every machine, so it is read from the records alone.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from bench.records import RunRecord
from bench.spec import canonical_json

TOP1 = "top1"
ROBUSTNESS_SUFFIX = "_top1"
"""Metrics of evaluators that end so are accuracies on images harder than the test set's."""
NOT_GATED = ("clean_top1", "extra_corruption_top1", "fgsm_clean_top1", "attack_clean_top1")
"""Accuracies on clean images, which the accuracy gate covers, and corruptions that never count."""


@dataclass(frozen=True)
class Measure:
    """One number of one run. name: "top1", or evaluator arm and metric as in "digits-fgsm fgsm_top1".

    points: digest of what the number is a mean over. equality: digest of all that it was made from; equal digests
    mean that nothing has changed; "" where that cannot be told. evaluator: digest of the evaluator's settings.
    """

    name: str
    value: float
    equality: str
    points: str = ""
    evaluator: str = ""


def accuracy(run: RunRecord) -> Measure | None:
    """Test top-1 after the last epoch; None where it was not measured."""
    test = cast("dict[str, Any]", run.training.last.get("test") or {})
    value = test.get("top1")
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        return None
    return Measure(TOP1, float(value), predictions_digest(run))


def test_images(run: RunRecord) -> int:
    """Size of the test set; 0 where the record does not say."""
    test = cast("dict[str, Any]", run.training.last.get("test") or {})
    count = test.get("n")
    return count if isinstance(count, int) and count > 0 else 0


def robustness(run: RunRecord) -> list[Measure]:
    """The mean of each accuracy that evaluators recorded, over its corruptions, severities, radii or sets."""
    found: list[Measure] = []
    for arm in sorted(run.evaluations):
        evaluation = run.evaluation(arm)
        grouped: dict[str, list[dict[str, Any]]] = {}
        for line in evaluation.metrics:
            name = str(line.get("name"))
            if name.endswith(ROBUSTNESS_SUFFIX) and name not in NOT_GATED:
                grouped.setdefault(name, []).append(line)
        for name, lines in sorted(grouped.items()):
            values = [line.get("value") for line in lines]
            if not all(isinstance(value, int | float) and 0 <= value <= 1 for value in values):
                continue
            details = sorted(canonical_json(line.get("detail") or {}) for line in lines)
            numbers = sorted(f"{canonical_json(line.get('detail') or {})} {line['value']!r}" for line in lines)
            digest = str(evaluation.begin.get("digest") or "")
            value = sum(float(cast("float", value)) for value in values) / len(values)
            found.append(Measure(f"{arm} {name}", value, _digest(numbers), _digest(details), digest))
    return found


def predictions_digest(run: RunRecord) -> str:
    """Digest of the predicted class of every test image after the last epoch; "" where it was not kept or is damaged.

    The classes count, not how many bytes each takes.
    """
    path = run.predictions
    if path is None:
        return ""
    try:
        with np.load(path, allow_pickle=False) as file:
            classes = np.asarray(file["top1"]).astype("<i8")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return ""
    return hashlib.blake2b(classes.tobytes(), digest_size=8).hexdigest()


def _digest(lines: list[str]) -> str:
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=8).hexdigest()
