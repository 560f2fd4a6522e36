"""Write finished runs that nobody trained, to see how commands stand up to very many records.

    python tools/synthetic_records.py FOLDER --runs 100000
    mixbench status FOLDER/configs/suite/synthetic.yaml --results FOLDER/results

The suite plans 28 methods on 4 backbones and as many selections of the digits as are needed. Its records have the form
of real ones, line by line with checksums, with predictions and one evaluation; `mixbench verify` finds nothing wrong
with them but the torn lines. Of every 200 runs one was stopped and done again, one diverged, one failed, one is
unfinished with a torn line, and one is missing. Weights are left out. The numbers are drawn at random and mean nothing.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from bench.config.overrides import Overrides
from bench.config.suite import load_suite
from bench.data.facts import describe
from bench.env import code_state, package_versions, processor_name
from bench.records import PREDICTIONS_FILE, TRAIN_FILE, evaluation_file, file_facts
from bench.records.line import encode
from bench.spec import Spec
from bench.sweep.todo import CurrentArm, read_evals, run_source_digest, with_digests

METHODS = (
    "erm", "mixup", "cutmix", "manifold_mixup", "alignmix", "puzzlemix", "saliencymix", "resizemix", "fmix",
    "gridmixup", "smoothmix", "cutout", "augmix", "automix", "samix", "snapmix", "recursivemix", "regmixup", "nfm",
    "multimix", "mixpro", "mixup_cutmix", "attentivemix_own", "guidedmixup_sr", "pixmix_procedural",
    "cutmix-per-sample", "cutout-side0.25", "mixup-alpha0.2",
)  # fmt: skip
BACKBONES = ("test_resnet", "preact_resnet10_narrow", "preact_resnet18_narrow", "wrn_16_8")
VARIANTS = 40
"""Different predictions of one selection of images; each run has one of them, and the accuracy that it shows."""
FIRST = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Prediction:
    """A predictions file and the accuracy that it shows."""

    content: bytes
    top1: float
    images: int


@dataclass(frozen=True)
class Shared:
    """What all runs of one selection of images have in common."""

    predictions: list[Prediction]
    provenance: dict[str, Any]
    arms: list[CurrentArm]


def main() -> int:
    """Write suite and records; says how many runs there are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=100_000, help="at least so many runs are planned")
    parser.add_argument("--seeds", type=int, default=20, help="runs of one table row")
    parser.add_argument("--epochs", type=int, default=30, help="lines of each run")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    count = write_records(options.folder, options.runs, options.seeds, options.epochs, options.processes)
    print(f"{count} planned runs in {options.folder}")
    return 0


def write_records(folder: Path, runs: int, seeds: int, epochs: int, processes: int = 1) -> int:
    """A suite of at least so many runs below FOLDER/configs and its records below FOLDER/results; their number."""
    selections = math.ceil(runs / (len(METHODS) * len(BACKBONES) * seeds))
    path = write_suite(folder / "configs", selections, seeds, epochs)
    suite = load_suite(str(path), Overrides("the tool"))
    arms = read_evals(suite)
    groups: dict[str, list[Spec]] = {}
    for spec, _ in with_digests(suite):
        groups.setdefault(spec.labels.data, []).append(spec)
    records = folder / "results" / "records"
    jobs = [(records, specs, arms, list(range(seeds)), place) for place, specs in enumerate(groups.values())]
    if processes == 1:
        for job in jobs:
            _write_group(*job)
    else:
        with ProcessPoolExecutor(processes) as pool:
            for done in [pool.submit(_write_group, *job) for job in jobs]:
                done.result()
    return len(suite.planned)


def write_suite(configs: Path, selections: int, seeds: int, epochs: int) -> Path:
    """The suite file, and beside it a data config for each selection of images."""
    names = [f"digits-{number:02}" for number in range(selections)]
    for folder in ("data", "suite"):
        (configs / folder).mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        (configs / "data" / f"{name}.yaml").write_text(
            "source: digits\nresolution: 32\nchannels: 1\nmean: [0.3053]\nstd: [0.3235]\ntrain_per_class: 5\n"
            f"split_seed: {number}\n"
        )
    path = configs / "suite" / "synthetic.yaml"
    path.write_text(
        f"title: Synthetic records\ndata: [{', '.join(names)}]\nbackbone: [{', '.join(BACKBONES)}]\n"
        f"protocol: digits-100ep\nmethods: [{', '.join(METHODS)}]\nseeds: {seeds}\nevals: [clean]\n"
        f"set:\n  protocol.epochs: {epochs}\n  protocol.warmup_epochs: 0\n  protocol.evaluate_every: 1\n"
    )
    return path


def _write_group(records: Path, specs: list[Spec], arms: list[CurrentArm], seeds: list[int], place: int) -> None:
    """All runs of one selection of images."""
    generator = np.random.default_rng(place)
    shared = Shared(_predictions(describe(specs[0].data).sizes["test"], generator), _provenance(), arms)
    for number, spec in enumerate(specs):
        _write_run(records / spec.run_id, spec, shared, seeds, place * len(specs) + number)


def _write_run(folder: Path, spec: Spec, shared: Shared, seeds: list[int], number: int) -> None:
    chance = random.Random(number)
    kind = number % 200
    if kind == 0:
        return
    begun = FIRST + timedelta(seconds=number)
    if kind == 1:
        _write_attempt(folder, spec, shared, seeds, chance, begun - timedelta(days=1), "interrupted")
    status = {2: "diverged", 3: "error", 4: "torn"}.get(kind, "ok")
    _write_attempt(folder, spec, shared, seeds, chance, begun, status)


def _write_attempt(
    folder: Path, spec: Spec, shared: Shared, seeds: list[int], chance: random.Random, begun: datetime, status: str
) -> None:  # fmt: skip
    attempt = folder / f"{begun.strftime('%Y%m%dT%H%M%S.%fZ')}-{chance.getrandbits(32):08x}"
    attempt.mkdir(parents=True)
    prediction = shared.predictions[chance.randrange(len(shared.predictions))]
    lines = [encode("begin", {
        "schema": 1, "run_id": spec.run_id, "spec": spec.model_dump(mode="json"), "labels": spec.labels.model_dump(),
        "provenance": shared.provenance, "source_digest": run_source_digest(spec), "planned": seeds, "epoch": 0,
        "time": begun.timestamp(),
    })]  # fmt: skip
    epochs = spec.effective_protocol.epochs
    for epoch in range(1, epochs + 1 if status == "ok" else epochs // 2 + 1):
        share = 1.0 if epoch == epochs else (1 - 0.5**epoch) * (1 - 0.01 * chance.random())
        top1 = round(share * prediction.top1 * prediction.images) / prediction.images
        test = {"top1": top1, "nll": 2.3 - top1 * chance.random(), "n": prediction.images}
        lines.append(encode("epoch", {
            "epoch": epoch, "train_loss": 2.3 * chance.random(), "parts": {"share_kept": chance.random()},
            "learning_rate": 0.002 * chance.random(), "seconds": 0.1 + 0.1 * chance.random(), "test": test,
            "validation": None,
        }))  # fmt: skip
    if status == "ok":
        (attempt / PREDICTIONS_FILE).write_bytes(prediction.content)
        lines.append(encode("file", {"name": PREDICTIONS_FILE, **file_facts(prediction.content)}))
    if status != "torn":
        reason = None if status == "ok" else f"synthetic, {status}"
        lines.append(encode("end", {"status": status, "reason": reason, "seconds": 0.2 * epochs}))
    content = b"".join(lines)
    (attempt / TRAIN_FILE).write_bytes(content[:-20] if status == "torn" else content)
    if status == "ok":
        for current in shared.arms:
            file = evaluation_file(attempt, current.arm.name, current.arm.version)
            file.write_bytes(_evaluation(current, prediction, shared.provenance, chance, begun))


def _evaluation(
    current: CurrentArm, prediction: Prediction, provenance: dict[str, Any], chance: random.Random, begun: datetime
) -> bytes:
    arm = current.arm
    lines = [encode("begin", {
        "eval": arm.name, "title": arm.title, "evaluator": arm.evaluator, "version": arm.version,
        "settings": arm.settings, "digest": current.digest, "source_digest": current.source, "others": {},
        "provenance": provenance, "done": 0, "time": begun.timestamp(),
    })]  # fmt: skip
    top1 = prediction.top1
    values = {
        "top1": top1, "top5": (1 + top1) / 2, "nll": 2.3 - top1, "brier": 1 - top1, "ece_15": 0.1 * chance.random(),
        "ece_15_floor": 0.01 * chance.random(), "confidence_gap": 0.1 * chance.random(),
    }  # fmt: skip
    lines += [encode("metric", {"name": name, "value": value, "detail": {}}) for name, value in values.items()]
    lines.append(encode("end", {"status": "ok", "seconds": 0.2 + 0.1 * chance.random()}))
    return b"".join(lines)


def _predictions(images: int, generator: np.random.Generator) -> list[Prediction]:
    """Predictions with the right answer in 60 to 95 % of the images."""
    found: list[Prediction] = []
    labels = np.arange(images) % 10
    for place in range(VARIANTS):
        wrong = generator.random(images) > 0.6 + 0.35 * place / VARIANTS
        top1 = np.where(wrong, (labels + 1) % 10, labels)
        file = io.BytesIO()
        np.savez_compressed(
            file, top1=top1.astype(np.uint8), labels=labels.astype(np.uint8),
            probability=np.where(wrong, 0.2, 0.7).astype(np.float16),
        )  # fmt: skip
        found.append(Prediction(file.getvalue(), float((~wrong).mean()), images))
    return found


def _provenance() -> dict[str, Any]:
    """As `bench.env.provenance` has it, of a machine without GPU."""
    packages = package_versions()
    return {
        **code_state(), "python": "3.11.7", "platform": "Linux x86_64", "packages": packages,
        "torch_build": packages["torch"], "device": "cpu", "processor": processor_name(), "cores": 2, "threads": 1,
        "cuda": None, "gpu": None, "driver": None,
    }  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
