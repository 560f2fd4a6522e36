"""Step times at other batch sizes, image sizes and stages: sessions of a suite's methods with one thing changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bench.config.suite import SpeedSettings, Suite
from bench.data.facts import describe
from bench.errors import BadInput
from bench.records import Store
from bench.spec import Spec
from bench.sweep.options import Options
from bench.sweep.speed import planned_cells, reference_of, session_settings, time_session
from bench.sweep.todo import Todo

BATCH_FACTORS = (0.25, 1, 4)
IMAGE_FACTORS = (0.5, 1, 2)
STAGES = (-1, -2, -3)
"""Whose map is mixed, counted from the end; where a map cannot be mixed the method is left out with its reason."""


def time_scaling(suite: Suite, store: Store, settings: SpeedSettings, options: Options) -> bool:
    """Time each cell of a suite along the three axes, a fresh process for each value. Returns whether all ended ok.

    Every session has the reference, so that its ratios are to the reference at the same batch and image size.
    """
    fine = True
    for cell, items in planned_cells(suite, store).items():
        found = reference_of(suite, items)
        if found is None:
            raise BadInput(f"--scaling: {suite.name} has no '{suite.file.base}', which ratios are taken to")
        base = found.spec.labels.method
        planned = list(points(items, base))
        for place, (axis, value, specs) in enumerate(planned, 1):
            digests = dict(zip((spec.arm for spec in specs), (_digest(items, spec) for spec in specs), strict=True))
            reference = next(spec.arm for spec in specs if spec.labels.method == base)
            plan = session_settings(settings) | {
                "reference": reference,
                "scaling": {"of": cell, "axis": axis, "value": value},
            }
            title = f"step times, {axis.replace('_', ' ')} {value} ({place} of {len(planned)})"
            fine = time_session(suite, store, options, specs, digests, plan, title) and fine
    return fine


def points(items: Sequence[Todo], base: str) -> Iterator[tuple[str, int, list[Spec]]]:
    """(axis, value, the changed specs) of each session, for the methods of one cell. base: the reference's label.

    All training images of the data are used, so that a batch can be larger than the images that a run trains on;
    batches that are larger than all of them are left out, as are image sizes that are no multiple of 8.
    """
    data = items[0].spec.data
    whole = data.model_copy(update={"train_per_class": None, "digest": None})
    if data.source == "digits":  # a pool without a split of its own needs some images of each class left over
        whole = whole.model_copy(update={"train_per_class": 150})
    size = describe(whole).sizes["train"]
    specs = [item.spec.model_copy(update={"data": whole}) for item in items]
    parts = specs[0].protocol.accumulation
    micro = specs[0].protocol.batch_size / parts
    for value in sorted({parts * max(2, round(micro * factor)) for factor in BATCH_FACTORS}):
        if value <= size:
            yield "batch_size", value, [_changed(spec, "protocol", batch_size=value) for spec in specs]
    for value in sorted({round(data.resolution * factor) for factor in IMAGE_FACTORS}):
        if value % 8 == 0:
            yield "resolution", value, [_changed(spec, "data", resolution=value) for spec in specs]
    staged = [spec for spec in specs if "stage" in spec.method.parameters and spec.labels.method != base]
    for value in STAGES if staged else ():
        reference = [spec for spec in specs if spec.labels.method == base]
        yield "stage", value, [*reference, *(_staged(spec, value) for spec in staged)]


def _changed(spec: Spec, section: str, **values: Any) -> Spec:
    return spec.model_copy(update={section: getattr(spec, section).model_copy(update=values)})


def _staged(spec: Spec, stage: int) -> Spec:
    return _changed(spec, "method", parameters={**spec.method.parameters, "stage": stage})


def _digest(items: Sequence[Todo], spec: Spec) -> str:
    return next(item.source_digest for item in items if item.spec.labels.method == spec.labels.method)
