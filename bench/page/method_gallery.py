"""The gallery of `mixbench gallery`: chosen methods on one data set and one untrained network."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from bench.backbones.build import build_backbone
from bench.data.normalise import Normaliser
from bench.data.open import Splits
from bench.page.gallery_figure import GalleryRow, draw_gallery
from bench.page.mixture import chosen_images, mixtures, partners
from bench.run.build import build_method, evaluation_method, splits_for
from bench.spec import Spec

UNSEEN = "no picture is mixed from these in a first step: it mixes inside the network, or with earlier batches"


def draw_method_gallery(path: Path, specs: Mapping[str, Spec], images: int, masks: bool) -> None:
    """Write a PNG with a line for each way in which a spec, called by its name, mixes pixels. All specs have the same
    data and backbone.

    BadInput where the data cannot be opened.
    """
    first = next(iter(specs.values()))
    splits = splits_for(first.data.model_dump_json(), "cpu")
    shown, labels = chosen_images(splits, images, images)
    known = splits.facts.class_names
    names = [known[number] if number < len(known) else f"class {number}" for number in range(splits.facts.num_classes)]
    rows: list[GalleryRow] = []
    for name, spec in specs.items():
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows.extend(_rows(name, spec, splits, shown, labels))
    title = (
        f"{first.labels.data} at {first.data.resolution} px, untrained {first.labels.backbone}, half-way through "
        "training: what the network is given"
    )
    draw_gallery(path, shown, labels, partners(len(shown)), names, rows, masks, title)


def _rows(name: str, spec: Spec, splits: Splits, images: Tensor, labels: Tensor) -> list[GalleryRow]:
    data, classes = spec.data, splits.facts.num_classes
    if build_method(spec.method).mixes == "nothing":
        return [GalleryRow(name, None, "does not mix two images")]
    backbone = build_backbone(spec.backbone, classes, data.channels, data.resolution, spec.seed)
    method = evaluation_method(spec, backbone, classes)
    reason = "trained elsewhere" if method is None else method.skip(backbone, method.task)
    if method is None or reason:
        return [GalleryRow(name, None, reason or "")]
    found = mixtures(backbone, method, images, labels, Normaliser(data.mean, data.std))
    return [GalleryRow(name, made) for made in found] or [GalleryRow(name, None, UNSEEN)]
