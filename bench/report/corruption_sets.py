"""Corruption results as sets: which of the 15 standard and 4 extra corruptions an evaluator arm measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from bench.report.quantity import Quantity
from bench.report.readings import Readings, Series, ordinal

FAMILIES = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
"""The grouping of Hendrycks and Dietterich (2019)."""
STANDARD = tuple(name for names in FAMILIES.values() for name in names)
"""The 15 corruptions that count."""
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
"""The 4 for validation, never averaged with the others."""
SEVERITIES = (1, 2, 3, 4, 5)
_METRICS = ("corruption_top1", "extra_corruption_top1")


@dataclass(frozen=True)
class CorruptionSet:
    """What one arm measured. label: beginning of its column names. source: "files", "regenerated, seed s" or "".

    counted, extra: by corruption its accuracy at each severity, as series that a run needs all of.
    """

    label: str
    arm: str
    source: str
    counted: dict[str, dict[int, Series]]
    extra: dict[str, dict[int, Series]]

    @property
    def standard(self) -> bool:
        """Whether all 15 standard corruptions are there and nothing else is counted."""
        return set(self.counted) == set(STANDARD)

    @property
    def complete(self) -> bool:
        """Whether it is the benchmark: the 15 at five severities."""
        return self.standard and all(set(found) == set(SEVERITIES) for found in self.counted.values())

    @property
    def description(self) -> str:
        """What is averaged, in words."""
        severities = sorted({severity for found in self.counted.values() for severity in found})
        number = len(self.counted)
        which = "the 15 standard corruptions" if self.standard else f"{number} corruption{'s' if number > 1 else ''}"
        levels = "severity" if len(severities) == 1 else "severities"
        source = ", images from files" if self.source == "files" else f", {self.source}" if self.source else ""
        return f"{which} at {levels} {', '.join(map(str, severities))}{source}"

    def of(self, corruption: str) -> Quantity:
        """Accuracy under one corruption: the mean over its severities."""
        extra = corruption in self.extra
        parts = tuple((self.extra if extra else self.counted)[corruption].values())
        meaning = f"{self._subject(corruption)}, mean over severities"
        return Quantity(f"{self.label}_{corruption}", meaning, self.label, parts)

    @property
    def all(self) -> list[Quantity]:
        """One column a corruption: those that count first, then the extra ones."""
        return [self.of(name) for name in [*self.counted, *self.extra]]

    @property
    def mean(self) -> Quantity:
        """The mean over what counts, each corruption with equal weight."""
        parts = [tuple(found.values()) for found in self.counted.values()]
        meaning = f"mean top-1 over {self.description}, %"
        return _weighted(f"{self.label}_mean", meaning, self.label, parts)

    @property
    def extra_mean(self) -> Quantity | None:
        """The mean over the extra corruptions."""
        if not self.extra:
            return None
        parts = [tuple(found.values()) for found in self.extra.values()]
        meaning = f"mean top-1 over the extra corruptions ({', '.join(self.extra)}), in no other mean, %"
        return _weighted(f"{self.label}_extra_mean", meaning, self.label, parts)

    @property
    def family_means(self) -> list[Quantity]:
        """Means of noise, blur, weather and digital over their 3, 4, 4 and 4, where all 15 are there."""
        if not self.standard:
            return []
        return [
            _weighted(
                f"{self.label}_family_{family}", f"mean top-1 over {', '.join(names)}, %", self.label,
                [tuple(self.counted[name].values()) for name in names],
            )
            for family, names in FAMILIES.items()
        ]  # fmt: skip

    @property
    def error(self) -> Quantity | None:
        """100 % minus the mean, where it is the whole benchmark of 15 x 5."""
        if not self.complete:
            return None
        parts = tuple(series for found in self.counted.values() for series in found.values())
        meaning = "mean corruption error over 15 x 5, not divided by AlexNet's (unnormalised), %"
        return Quantity(
            f"{self.label}_error_unnormalised", meaning, self.label, parts, lambda values: 1 - sum(values) / len(values)
        )

    def against_alexnet(self, readings: Readings) -> list[Quantity]:
        """mCE, relative mCE, where the arm recorded them; 100 % is AlexNet."""
        words = {
            "mce": "mCE: mean over the 15 of the error relative to AlexNet's, %",
            "relative_mce": "relative mCE: the same with each network's clean error taken off first, %",
        }
        return [
            Quantity(f"{self.label}_{metric}", meaning, self.label, (one,))
            for metric, meaning in words.items()
            for one in self._own(readings, metric)
        ]

    def errors_against_alexnet(self, readings: Readings) -> list[Quantity]:
        """CE of each corruption, where the arm recorded it."""
        return [
            Quantity(
                f"{self.label}_ce_{one.text('corruption')}",
                f"error under {one.text('corruption')} relative to AlexNet's, %", self.label, (one,),
            )
            for one in self._own(readings, "corruption_error_relative_to_alexnet")
        ]  # fmt: skip

    def _own(self, readings: Readings, metric: str) -> list[Series]:
        return [one for one in readings.series(metric) if one.arm == self.arm]

    def _subject(self, corruption: str) -> str:
        procedural = corruption == "frost" and self.source not in ("", "files")
        made = " of procedural pictures" if procedural else ""
        return f"top-1 under {corruption}{made}{' (extra)' if corruption in self.extra else ''}, %"


def corruption_sets(readings: Readings) -> list[CorruptionSet]:
    """One set for each arm that recorded corruptions; a lone one is called "corruption", several by their arms.

    What the arm's settings name but no run has recorded yet is in the set too, so that means over an unfinished
    evaluation are not measured.
    """
    series = [one for metric in _METRICS for one in readings.series(metric) if _places(one)]
    arms = list(dict.fromkeys(one.arm for one in series if one.metric == _METRICS[0]))
    made: list[CorruptionSet] = []
    for arm in arms:
        own = [one for one in series if one.arm == arm]
        own += [one for one in _planned(readings, own[0]) if one not in own]
        counted, extra = ([one for one in own if one.metric == metric] for metric in _METRICS)
        sources = sorted({str(one.of("source")) for one in own if one.of("source")})
        label = "corruption" if len(arms) == 1 else arm
        made.append(CorruptionSet(label, arm, ", ".join(sources), _grid(counted, STANDARD), _grid(extra, EXTRA)))
    return made


def _places(series: Series) -> bool:
    return "corruption" in series.keys and ordinal(series.of("severity"))[0] == 0


def _planned(readings: Readings, example: Series) -> list[Series]:
    settings = readings.sources[example.arm].settings
    names, severities = settings.get("corruptions"), settings.get("severities")
    if not isinstance(names, list) or not isinstance(severities, list):
        return []
    made: list[Series] = []
    for name in cast("list[Any]", names):
        for severity in cast("list[Any]", severities):
            detail = {**dict(example.detail), "corruption": str(name), "severity": severity}
            is_extra = name in EXTRA and "source" in detail
            made.append(Series(example.arm, _METRICS[is_extra], tuple(sorted(detail.items()))))
    return made


def _grid(series: list[Series], order: tuple[str, ...]) -> dict[str, dict[int, Series]]:
    """By corruption, known ones in their usual order and others by name, and severity."""
    found: dict[str, dict[int, Series]] = {}
    for one in sorted(series, key=lambda one: ordinal(one.of("severity"))):
        found.setdefault(str(one.of("corruption")), {})[int(float(one.text("severity")))] = one
    places = {name: place for place, name in enumerate(order)}
    return {name: found[name] for name in sorted(found, key=lambda name: (places.get(name, len(order)), name))}


def _weighted(name: str, meaning: str, group: str, parts: list[tuple[Series, ...]]) -> Quantity:
    """Mean of means: every corruption counts once, however many severities it has."""
    sizes = [len(part) for part in parts]

    def combine(values: Sequence[float]) -> float:
        start, total = 0, 0.0
        for size in sizes:
            total += sum(values[start : start + size]) / size
            start += size
        return total / len(sizes)

    return Quantity(name, meaning, group, tuple(series for part in parts for series in part), combine)
