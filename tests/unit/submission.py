"""A small faultless submission, and edits of it whose checksums are right again, as a cheat would make them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from bench.config.catalogue import method_facts
from bench.config.folders import shipped_configs
from bench.evals.registry import evaluator_facts, read_arm
from bench.records import RecordWriter, evaluation_file
from bench.records.line import decode, encode
from bench.sources import file_source_digest, method_source_digest
from bench.spec import Labels, MethodSpec, Spec
from tests.golden.tables.example_records import make_spec

IMAGES, CLASSES = 40, 10
ATTEMPT = "20260102T000000.000000Z-0000000{}"


def submitted_spec(method: str = "mixup", seed: int = 0, **changes: Any) -> Spec:
    """A spec whose method has all the parameters of the method that is installed."""
    spec = make_spec(method, seed, **changes)
    facts = method_facts(method)
    own = MethodSpec(implementation=method, parameters=facts.parameters().model_dump(), neutral=facts.neutral)
    return spec.model_copy(update={"method": own, "labels": Labels(**{**spec.labels.model_dump(), "method": method})})


def write_submission(root: Path, seeds: tuple[int, ...] = (0, 1)) -> list[Path]:
    """Write runs, evaluations, predictions, weights and a timing session; the attempts' folders."""
    folders = [write_submitted(root, submitted_spec(seed=seed), seeds) for seed in seeds]
    with RecordWriter(root / "speed" / f"{ATTEMPT.format(9)}.jsonl") as writer:
        spec = submitted_spec()
        writer.append("begin", hardware="a CPU", precision="fp32", torch="2.6", cell=spec.cell)
        writer.append("arm", arm=spec.arm, label="mixup", passes_per_step=1.0, peak_memory=None, images_per_step=25)
        for number in range(2):
            writer.append("sample", arm=spec.arm, label="mixup", round=number, seconds=0.01)
        writer.append("end", status="ok")
    return folders


def write_submitted(root: Path, spec: Spec, planned: tuple[int, ...]) -> Path:
    """One faultless run: 30 of 40 test images right after the last of two epochs."""
    folder = root / spec.run_id / ATTEMPT.format(spec.seed)
    facts = method_facts(spec.method.implementation)
    with RecordWriter(folder / "train.jsonl") as writer:
        writer.append(
            "begin", schema=1, run_id=spec.run_id, spec=spec.model_dump(mode="json"), labels=spec.labels.model_dump(),
            provenance={"torch_build": "2.6"}, source_digest=method_source_digest(facts.path), planned=list(planned),
            epoch=0,
        )  # fmt: skip
        for epoch, right in ((1, 20), (2, 30)):
            test = {"top1": right / IMAGES, "nll": 0.7 + 0.001 * spec.seed, "n": IMAGES}
            writer.append(
                "epoch", epoch=epoch, train_loss=1.0, parts={}, learning_rate=0.1, seconds=1.0, test=test,
                validation=None,
            )  # fmt: skip
        writer.append("diagnostic", name="share_kept", value=0.5)
        writer.append("end", status="ok", reason=None, seconds=2.0)
    _evaluate(
        folder, "clean", [(name, 0.75 if name == "top1" else 0.1, {}) for name in ("top1", "top5", "nll", "brier")]
    )
    arm = read_arm(shipped_configs() / "eval" / "digits-corruptions.yaml")
    cells = [(name, severity) for name in arm.settings["corruptions"] for severity in arm.settings["severities"]]
    corrupted = [("corruption_top1", 0.5, {"corruption": name, "severity": severity}) for name, severity in cells]
    _evaluate(folder, "digits-corruptions", [*corrupted, ("corruption_top1_mean", 0.5, {})])
    labels = (np.arange(IMAGES) % CLASSES).astype(np.uint8)
    top1 = labels.copy()
    top1[30:] = (top1[30:] + 1) % CLASSES
    probability = np.where(top1 == labels, 0.9, 0.05).astype(np.float16)
    np.savez_compressed(folder / "predictions.npz", top1=top1, labels=labels, probability=probability)
    save_file({"weight": np.zeros((2, 3), np.float32), "bias": np.zeros(2, np.float32)}, folder / "weights.safetensors")
    (folder / "log.txt").write_text("")
    return folder


def _evaluate(folder: Path, name: str, metrics: list[tuple[str, float, dict[str, Any]]]) -> None:
    arm = read_arm(shipped_configs() / "eval" / f"{name}.yaml")
    with RecordWriter(evaluation_file(folder, name, arm.version)) as writer:
        writer.append(
            "begin", eval=name, title=arm.title, evaluator=arm.evaluator, version=arm.version, settings=arm.settings,
            digest=arm.digest, source_digest=file_source_digest(evaluator_facts(arm.evaluator).path),
        )  # fmt: skip
        for metric, value, detail in metrics:
            writer.append("metric", name=metric, value=value, detail=detail)
        writer.append("end", status="ok")


def rewrite(path: Path, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    """Let `change` edit the lines in place (or return others), and write them with right checksums."""
    lines = [fields for text in path.read_bytes().splitlines() if (fields := decode(text)) is not None]
    lines = change(lines) or lines
    path.write_bytes(b"".join(_encoded(json.loads(json.dumps(line))) for line in lines))


def _encoded(line: dict[str, Any]) -> bytes:
    return encode(line.pop("kind"), line)
