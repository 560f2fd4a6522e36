"""The gallery: what each method makes of a few test images, seen through the images that it gives to the network."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from bench.backbones.adapter import TimmBackbone
from bench.backbones.build import build_backbone
from bench.data.normalise import Normaliser
from bench.data.open import Splits, open_data
from bench.errors import BadInput
from bench.page.gallery_picture import Gallery, Picture, Strip
from bench.page.mixture import chosen_images, label_words, mixtures
from bench.records.errors import StorageError
from bench.report import Tables
from bench.report.study import Cell, Row
from bench.run.build import evaluation_method
from bench.run.finished import load_trained, trained_method
from bench.spec import DataSpec, Spec
from methods.api import Draws

IMAGES = 6
_SHOWN_SIDE = 112
_UNMIXED = "original images"


def galleries(tables: Tables, roots: Mapping[str, str | None]) -> tuple[list[Gallery], list[str]]:
    """A gallery for the first cell of each data set, and why there is none for cells whose data cannot be opened.

    roots: by name of the data config where its images are, for records whose own path is of another machine. The
    networks are those of finished runs where their weights are at hand, else untrained; all randomness comes from one
    seed.
    """
    seen: set[str] = set()
    made: list[Gallery] = []
    missing: list[str] = []
    for cell in tables.study.cells:
        spec = next((spec for row in cell.rows if (spec := _spec(row)) is not None), None)
        if spec is None or str(spec.data.digest) in seen:
            continue
        seen.add(str(spec.data.digest))
        root = roots.get(spec.labels.data) or spec.data.root
        try:
            made.append(cell_gallery(cell, spec.model_copy(update={"data": _at(spec.data, root)})))
        except (BadInput, StorageError) as error:
            missing.append(f"{cell.title}: no gallery, {error}")
    return made, missing


def cell_gallery(cell: Cell, spec: Spec) -> Gallery:
    """One strip of unmixed images and one for every method. BadInput where the data cannot be opened."""
    splits = open_data(spec.data, "cpu")
    images, labels = chosen_images(splits, IMAGES, 3 * IMAGES)
    normalise = Normaliser(spec.data.mean, spec.data.std)
    names = _class_names(splits, labels)
    originals = Strip(
        _UNMIXED,
        [Picture(_uri(image), f"{name}, not mixed", name) for image, name in zip(images[:IMAGES], names, strict=False)],
        ", ".join(names[:IMAGES]),
    )
    strips = [_strip(row, spec, splits, images, labels, normalise) for row in cell.rows]
    about = (
        f"The first {IMAGES} of a batch of {len(images)} test images, as each method gives them to the network: after "
        "its own mixing, half-way through training, with the label weights of its loss."
    )
    return Gallery(cell.title, max(_SHOWN_SIDE, spec.data.resolution), [originals, *strips], about)


def _strip(row: Row, first: Spec, splits: Splits, images: Tensor, labels: Tensor, normalise: Normaliser) -> Strip:
    """The row's mixed images, or why there are none; some draws mix nothing in pixel space, so several are tried."""
    spec = _spec(row)
    if spec is None:
        return Strip(row.name, [], "no record of it")
    spec = spec.model_copy(update={"data": first.data})
    backbone, folder = _network(row, spec, splits)
    classes = splits.facts.num_classes
    try:
        if folder is None:
            method = evaluation_method(spec, backbone, classes)
        else:
            method = trained_method(spec, folder, backbone, classes)
        unknown = "trained elsewhere" if spec.protocol.trained_elsewhere else "its own weights were not kept"
        reason = unknown if method is None else method.skip(backbone, method.task)
    except (BadInput, StorageError) as error:
        method, reason = None, str(error)
    if method is None or reason:
        return Strip(row.name, [], reason or "")
    found = next(iter(mixtures(backbone, method, images, labels, normalise)), None)
    if found is None:
        return Strip(row.name, [], "gives the network unmixed images: it does not mix, or mixes inside the network")
    known = _class_names(splits, torch.arange(splits.facts.num_classes))
    words = [label_words(target, known) or "label not used" for target in found.targets[:IMAGES]]
    pictures = [
        Picture(_uri(image), f"{row.name}: {text}", text)
        for image, text in zip(found.images[:IMAGES], words, strict=True)
    ]
    return Strip(row.name, pictures, _drawn(found.draws, folder is not None))


def _network(row: Row, spec: Spec, splits: Splits) -> tuple[TimmBackbone, Path | None]:
    """A trained network of the row and its folder where its weights are at hand, else one with its initial weights."""
    for run in row.ok.values():
        try:
            return load_trained(spec, run.folder, splits, torch.device("cpu")), run.folder
        except (BadInput, StorageError):
            continue
    data = spec.data
    backbone = spec.backbone.model_copy(update={"pretrained": False})
    return build_backbone(backbone, splits.facts.num_classes, data.channels, data.resolution, spec.seed).eval(), None


def _class_names(splits: Splits, labels: Tensor) -> list[str]:
    known = splits.facts.class_names
    return [str(known[label]) if label < len(known) else f"class {label}" for label in labels.tolist()]


def _drawn(draws: Draws, trained: bool) -> str:
    """The branch of the step, its mixing weight where the whole batch has one, and which network was asked."""
    lam: Any = draws.tensors.get("lam")
    told = [draws.branch] if draws.branch else []
    if lam is not None and lam.numel() == 1:
        told.append(f"lam {float(lam):.2f}")
    return ", ".join([*told, "trained network" if trained else "untrained network"])


def _uri(image: Tensor) -> str:
    """A PNG of an image (C, H, W) uint8 with 1 or 3 channels."""
    pixels = image.permute(1, 2, 0).contiguous().numpy()
    content = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(content, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"


def _spec(row: Row) -> Spec | None:
    run = next((run for _, run in sorted(row.runs.items()) if run is not None), None)
    return None if run is None else Spec.model_validate_json(json.dumps(run.spec))


def _at(data: DataSpec, root: str | None) -> DataSpec:
    """The data at another place; the digest tells whether they are the same."""
    return data.model_copy(update={"root": root})
