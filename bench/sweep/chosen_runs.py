"""Suites that stand in no file: a finished run by its id, or networks from checkpoint files."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.config.folders import ConfigFolders
from bench.config.overrides import Overrides
from bench.config.sections import resolve_section
from bench.config.suite import Planned, Suite, SuiteFile, expand_evals
from bench.data.facts import describe
from bench.errors import BadInput
from bench.records import Store
from bench.spec import BackboneSpec, DataSpec, Labels, MethodSpec, ProtocolSpec, Spec
from bench.sweep.todo import TRAINED_ELSEWHERE, find_todo

RUN_ID = re.compile(r"[0-9a-f]{6,16}")
NORMALISATIONS = ("data", "backbone", "none")


def run_suite(given: str, store: Store, evals: list[str]) -> Suite:
    """A suite of the one recorded run whose id is, or begins with, `given`. BadInput where that is not one run."""
    found = [record for record in store.runs() if record.run_id.startswith(given)]
    if len(found) != 1:
        raise BadInput(f"{given}: {len(found) or 'no'} runs in {store.root} have an id that begins so")
    try:
        spec = Spec.model_validate(found[0].spec, strict=False)
    except ValidationError:
        raise BadInput(f"{found[0].folder}: its record does not say which run it is; see `mixbench check`") from None
    return _suite(found[0].run_id, str(spec.labels.method), [Planned(spec, spec.labels.method, {}, spec.seed)], evals)


def checkpoint_suite(
    files: list[Path], data: str, backbone: str, normalisation: str | None, evals: list[str], given: Overrides
) -> Suite:
    """A suite with a row for each checkpoint file, called by the files' stems, the first being the reference.

    normalisation: what the networks were trained with: "data" (mean and sd of the data config), "backbone" (timm's for
    its pretrained weights) or "none" (pixels in [0, 1]); it must be said unless `given` sets data.mean and data.std,
    since a wrong one changes every number and attacks need it.
    """
    folders = ConfigFolders()
    sections: dict[str, Any] = {
        kind: resolve_section(kind, name, f"--{kind}", folders, [given])
        for kind, name in (("data", data), ("backbone", backbone))
    }
    net: BackboneSpec = sections["backbone"].spec
    images = _normalised(sections["data"].spec, net, normalisation, given)
    names = [file.stem for file in files]
    if len(set(names)) != len(names):
        raise BadInput("--checkpoint: two files have the same name; rows are called by file names")
    planned: list[Planned] = []
    for file in files:
        if not file.is_file():
            raise BadInput(f"--checkpoint {file}: no such file")
        content = hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()
        labels = Labels(data=data, backbone=backbone, protocol=TRAINED_ELSEWHERE, method=file.stem)
        method = MethodSpec(implementation=file.stem, parameters={"checkpoint": content})
        protocol = ProtocolSpec(epochs=1, batch_size=1, learning_rate=1.0, trained_elsewhere=True)
        spec = Spec(data=images, backbone=net, protocol=protocol, method=method, seed=0, labels=labels)
        planned.append(Planned(spec, file.stem, {}, spec.seed))
    return _suite("checkpoints", names[0], planned, evals)


def import_missing(suite: Suite, files: list[Path], store: Store) -> None:
    """Make records of the checkpoints that have none yet. BadInput where a file does not fit the backbone."""
    from bench.run.imported import import_checkpoint

    for item, file in zip(find_todo(suite, store), files, strict=True):
        if item.need == "train":
            classes = describe(item.spec.data).num_classes
            folder = store.new_attempt(item.spec.run_id)
            try:
                import_checkpoint(file, item.spec, classes, folder, item.source_digest)
            except BadInput:
                folder.rmdir()
                raise


def _suite(name: str, base: str, planned: list[Planned], evals: list[str]) -> Suite:
    labels, folders = planned[0].spec.labels, ConfigFolders()
    file = SuiteFile(
        title=f"{labels.data}, {labels.backbone}, {labels.protocol}",
        data=labels.data, backbone=labels.backbone, protocol=labels.protocol,
        methods=tuple(item.spec.labels.method for item in planned), seeds=(planned[0].spec.seed,),
        evals=tuple(expand_evals(evals, folders, "--evals")), base=base,
    )  # fmt: skip
    plain = [replace(item, row=_without_digest(item.row)) for item in planned]
    return Suite(name, Path(name), file, folders, plain)


def _without_digest(spec: Spec) -> Spec:
    return spec.model_copy(update={"data": spec.data.model_copy(update={"digest": None})})


def _normalised(data: DataSpec, backbone: BackboneSpec, normalisation: str | None, given: Overrides) -> DataSpec:
    set_by_hand = {"mean", "std"} <= given.keys.get("data", {}).keys()
    if normalisation is None and not set_by_hand:
        raise BadInput(
            "--normalisation: what the checkpoints were trained with is unknown; say data (the data config's mean and "
            "std), backbone (timm's for its pretrained weights), none (pixels in [0, 1]), or set data.mean and data.std"
        )
    if normalisation in (None, "data"):
        return data
    if normalisation == "none":
        return data.model_copy(update={"mean": (0.0,) * data.channels, "std": (1.0,) * data.channels})
    import timm

    config: Any = timm.get_pretrained_cfg(backbone.name) if timm.is_model(backbone.name) else None
    if config is None or len(config.mean) != data.channels:
        raise BadInput(f"--normalisation backbone: timm knows none for {backbone.name} and {data.channels} channels")
    return data.model_copy(update={"mean": tuple(config.mean), "std": tuple(config.std)})
