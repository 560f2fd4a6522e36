"""Occluded, shifted and foreign test images."""

from __future__ import annotations

from bench.report.quantity import Quantity, measured_only
from bench.report.quantity_table import quantity_table
from bench.report.readings import Readings, ordinal
from bench.report.study import Study
from bench.report.table import Table


def occlusion_means(readings: Readings) -> list[Quantity]:
    """Mean accuracy over the shares of dropped patches."""
    return measured_only(
        readings,
        [
            Quantity(
                f"{readings.prefix(one)}occlusion_mean",
                "mean top-1 over the shares of dropped patches, %", one.arm, (one,),
            )
            for one in readings.bare("occlusion_top1_mean")
        ],
    )  # fmt: skip


def consistency_means(readings: Readings) -> list[Quantity]:
    """Mean consistency over all shifts above 0."""
    series = readings.series("translation_consistency", "shift")
    made: list[Quantity] = []
    for arm in dict.fromkeys(one.arm for one in series):
        own = tuple(one for one in series if one.arm == arm and ordinal(one.of("shift")) > (0, 0.0, ""))
        name = "consistency_mean" if len({one.arm for one in series}) == 1 else f"{arm}_consistency_mean"
        meaning = "images answered alike after a shift, mean over the shifts, %"
        made.append(Quantity(name, meaning, arm, own))
    return measured_only(readings, made)


def shift_table(study: Study, readings: Readings) -> Table | None:
    """One row a method; None where nothing of it was measured."""
    quantities = [*occlusion_means(readings), *_single(readings), *consistency_means(readings)]
    if not quantities:
        return None
    fields = [one.field(one.name.replace("_", " ")) for one in quantities]
    return quantity_table(study, readings, "robustness-shift", "Robustness: shift", quantities, fields)


def _single(readings: Readings) -> list[Quantity]:
    made: list[Quantity] = []
    for one in readings.series("occlusion_top1", "share"):
        name, share = f"{readings.prefix(one)}occlusion_{one.text('share')}", one.of("share")
        part = f"{share:.0%}" if isinstance(share, float) else one.text("share")
        made.append(Quantity(name, f"top-1 with {part} of the patches dropped, %", one.arm, (one,)))
    for one in readings.series("translation_top1", "shift"):
        name = f"{readings.prefix(one)}translation_{one.text('shift')}"
        made.append(Quantity(name, f"top-1 after a shift by {one.text('shift')} px, %", one.arm, (one,)))
    for one in readings.series("translation_consistency", "shift"):
        name = f"{readings.prefix(one)}consistency_{one.text('shift')}"
        made.append(
            Quantity(name, f"images answered alike after a shift by {one.text('shift')} px, %", one.arm, (one,))
        )
    for one in readings.series("shifted_top1"):
        name = f"{readings.prefix(one)}shifted_{one.text('set')}"
        masked = ", only the classes that the set has" if one.of("masked") is True else ""
        meaning = f"top-1 on {one.text('set')} ({one.text('source')}{masked}), %"
        made.append(Quantity(name, meaning, one.arm, (one,)))
    for one in readings.series("shifted_images"):
        name = f"{readings.prefix(one)}shifted_{one.text('set')}_images"
        meaning = f"number of images of {one.text('set')}"
        made.append(Quantity(name, meaning, one.arm, (one,), scale=1.0, decimals=0, compared=False))
    return measured_only(readings, made)
