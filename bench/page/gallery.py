"""The gallery: what each method makes of a few test images, seen through the images that it gives to the network."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from bench.backbones.adapter import TimmBackbone
from bench.backbones.build import build_backbone
from bench.data.normalise import Normaliser
from bench.data.open import Splits, open_data
from bench.errors import BadInput
from bench.evals.api import Context
from bench.evals.forward import evaluation_mode
from bench.evals.intrusion import mixed_images, mixed_mask
from bench.page.gallery_picture import Gallery, Picture, Strip
from bench.records.errors import StorageError
from bench.report import Tables
from bench.report.study import Cell, Row
from bench.run.build import evaluation_method
from bench.run.finished import load_trained
from bench.spec import DataSpec, Spec
from methods.api import Draws
from methods.ops.keys import Key

IMAGES = 6
SEED = 20260104
_TRIES = 8
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
    images, labels = _chosen(splits)
    normalise = Normaliser(spec.data.mean, spec.data.std)
    names = _class_names(splits, labels)
    originals = Strip(
        _UNMIXED,
        [Picture(_uri(image), f"{name}, not mixed") for image, name in zip(images[:IMAGES], names, strict=False)],
        ", ".join(names[:IMAGES]),
    )
    strips = [_strip(row, spec, splits, images, labels, names, normalise) for row in cell.rows]
    about = (
        f"The first {IMAGES} of a batch of {len(images)} test images, as each method gives them to the network: after "
        "its own mixing, half-way through training."
    )
    return Gallery(cell.title, max(_SHOWN_SIDE, spec.data.resolution), [originals, *strips], about)


def _strip(
    row: Row, first: Spec, splits: Splits, images: Tensor, labels: Tensor, names: Sequence[str], normalise: Normaliser
) -> Strip:
    """The row's mixed images, or why there are none; some draws mix nothing in pixel space, so several are tried."""
    spec = _spec(row)
    if spec is None:
        return Strip(row.name, [], "no record of it")
    spec = spec.model_copy(update={"data": first.data})
    backbone, trained = _network(row, spec, splits)
    try:
        method = evaluation_method(spec, backbone, splits.facts.num_classes)
        reason = "trained elsewhere" if method is None else method.skip(backbone, method.task)
    except BadInput as error:
        method, reason = None, str(error)
    if method is None or reason:
        return Strip(row.name, [], reason or "")
    context = Context(backbone, normalise, splits.evaluation, splits.facts.num_classes, torch.device("cpu"), 0)
    clean = normalise(images)
    with evaluation_mode(backbone, context.device), evaluation_mode(method, context.device):
        for attempt in range(_TRIES):
            made, draws = mixed_images(context, method, images, labels, Key(SEED, "gallery", attempt))
            mixed = next((batch for batch in made if mixed_mask(batch, clean, draws).any()), None)
            if mixed is not None:
                shown = _to_pixels(mixed[:IMAGES], normalise)
                alts = [f"{row.name}: {_sources(place, names, draws)}" for place in range(len(shown))]
                pictures = [Picture(_uri(image), alt) for image, alt in zip(shown, alts, strict=True)]
                return Strip(row.name, pictures, _drawn(draws, trained))
    return Strip(row.name, [], "gives the network unmixed images: it does not mix, or mixes inside the network")


def _network(row: Row, spec: Spec, splits: Splits) -> tuple[TimmBackbone, bool]:
    """A trained network of the row where its weights are at hand, else one with its initial weights."""
    for run in row.ok.values():
        try:
            return load_trained(spec, run.folder, splits, torch.device("cpu")), True
        except (BadInput, StorageError):
            continue
    data = spec.data
    backbone = spec.backbone.model_copy(update={"pretrained": False})
    return build_backbone(backbone, splits.facts.num_classes, data.channels, data.resolution, spec.seed).eval(), False


def _chosen(splits: Splits) -> tuple[Tensor, Tensor]:
    """As many images as there are in three rows, the first of different classes."""
    feed = splits.evaluation["test"]
    labels = feed.labels.cpu()
    order = Key(SEED, "images").generator().permutation(len(labels)).tolist()
    firsts: dict[int, int] = {}
    for position in order:
        firsts.setdefault(int(labels[position]), position)
    chosen = list(firsts.values())[:IMAGES]
    taken = set(chosen)
    chosen += [position for position in order if position not in taken][: 3 * IMAGES - len(chosen)]
    wanted = {position: place for place, position in enumerate(chosen)}
    found: dict[int, Tensor] = {}
    begin = 0
    for images, _ in feed.batches(256):
        for position in range(begin, begin + len(images)):
            if position in wanted:
                found[wanted[position]] = images[position - begin].cpu()
        begin += len(images)
        if len(found) == len(chosen):
            break
    return torch.stack([found[place] for place in range(len(chosen))]), labels[torch.tensor(chosen)]


def _class_names(splits: Splits, labels: Tensor) -> list[str]:
    known = splits.facts.class_names
    return [str(known[label]) if label < len(known) else f"class {label}" for label in labels.tolist()]


def _sources(place: int, names: Sequence[str], draws: Draws) -> str:
    permutation = draws.tensors.get("permutation")
    if permutation is None or int(permutation[place]) == place:
        return names[place]
    return f"{names[place]} mixed with {names[int(permutation[place])]}"


def _drawn(draws: Draws, trained: bool) -> str:
    """The branch of the step, its mixing weight where the whole batch has one, and which network was asked."""
    lam: Any = draws.tensors.get("lam")
    told = [draws.branch] if draws.branch else []
    if lam is not None and lam.numel() == 1:
        told.append(f"lam {float(lam):.2f}")
    return ", ".join([*told, "trained network" if trained else "untrained network"])


def _to_pixels(images: Tensor, normalise: Normaliser) -> Tensor:
    return ((images - normalise.shift) / normalise.scale).round().clamp(0, 255).to(torch.uint8)


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
