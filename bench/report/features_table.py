"""What mixing does inside the network: feature distances, alignment, manifold intrusion, localisation."""

from __future__ import annotations

from bench.report.quantity import Quantity, measured_only
from bench.report.quantity_table import quantity_table
from bench.report.readings import Readings
from bench.report.study import Study
from bench.report.table import Table

_NUMBERS = {
    "feature_distance_intra": "distance of features within a class",
    "feature_distance_inter": "distance between the classes' centres",
    "feature_distance_ratio": "distance within classes relative to that between them; lower is tighter",
}
_SHARES = {
    "manifold_intrusion": "mixed images that a network trained without mixing puts into a third class, %",
    "manifold_intrusion_clean": "the same for images that were not mixed: that network's own error, %",
    "mixed_share": "batches that were mixed in pixel space, %",
    "localisation_mean": "mean localisation accuracy over the overlaps, %",
}


def features_table(study: Study, readings: Readings) -> Table | None:
    """One row a method; None where nothing of it was measured."""
    quantities = _quantities(readings)
    if not quantities:
        return None
    fields = [one.field(one.name.replace("_", " ")) for one in quantities]
    return quantity_table(study, readings, "robustness-features", "Robustness: features", quantities, fields)


def _quantities(readings: Readings) -> list[Quantity]:
    made: list[Quantity] = []
    for metric, meaning in _NUMBERS.items():
        for one in readings.bare(metric):
            name = f"{readings.prefix(one)}{metric}"
            made.append(Quantity(name, meaning, one.arm, (one,), scale=1.0, decimals=None, digits=4))
    for one in readings.series("alignment_effect", "direction"):
        direction = one.text("direction").removeprefix("to_")
        name = f"{readings.prefix(one)}alignment_effect_to_{direction}"
        meaning = f"relative change of the logits when the alignment is left out, {direction} direction"
        made.append(Quantity(name, meaning, one.arm, (one,), scale=1.0, decimals=None, digits=3, compared=False))
    for metric, meaning in _SHARES.items():
        for one in readings.bare(metric):
            made.append(Quantity(f"{readings.prefix(one)}{metric}", meaning, one.arm, (one,)))
    for one in readings.series("localisation_accuracy", "iou"):
        name = f"{readings.prefix(one)}localisation_{one.text('iou')}"
        meaning = f"images whose activation map overlaps the box by at least {one.text('iou')}, %"
        made.append(Quantity(name, meaning, one.arm, (one,)))
    return measured_only(readings, made)
