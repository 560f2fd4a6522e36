"""Train one spec into an attempt folder: begin, epochs, weights, predictions, diagnostics, end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.backbones.stages import StageRefused
from bench.data.open import Splits
from bench.env import provenance
from bench.evals.api import Context
from bench.evals.forward import predictions
from bench.records import CHECKPOINT_FILE, SCHEMA, TRAIN_FILE, RecordWriter
from bench.rng import stream
from bench.run.finished import save_predictions, save_weights
from bench.spec import Spec
from bench.train.accuracy import measure_accuracy
from bench.train.checkpoint import load_checkpoint, save_checkpoint
from bench.train.training import Diverged, Skipped, Training
from methods.api import Batch, Method

DIAGNOSTIC_IMAGES = 256

Report = Callable[[dict[str, Any]], None]


class Stopped(Exception):
    """Somebody asked the run to stop; its checkpoint is written."""


def train_run(
    spec: Spec, method: Method, splits: Splits, folder: Path, device: torch.device, source_digest: str,
    planned: list[int], checkpoint_seconds: float, report: Report, stopping: Callable[[], bool],
) -> str:  # fmt: skip
    """Train to the end and return the status ("ok", "diverged", "oom", "skipped"); the record tells all of it.

    Continues from the attempt's checkpoint where it has one. report gets {"epoch", "epochs"} as training goes on.
    stopping is asked after every step; Stopped is raised once the state is saved. planned: the seeds of this arm.
    """
    started = time.monotonic()
    with RecordWriter(folder / TRAIN_FILE) as record:
        checkpoint = load_checkpoint(folder / CHECKPOINT_FILE, device)
        record.append(
            "begin" if checkpoint is None else "resume",
            schema=SCHEMA,
            run_id=spec.run_id,
            spec=spec.model_dump(mode="json"),
            labels=spec.labels.model_dump(),
            provenance=provenance(device.type),
            source_digest=source_digest,
            planned=planned,
            epoch=0 if checkpoint is None else checkpoint["epoch"],
            time=time.time(),
        )
        status, reason = "ok", None
        try:
            _train(spec, method, splits, folder, device, checkpoint, checkpoint_seconds, record, report, stopping)
        except (Skipped, StageRefused) as error:
            status, reason = "skipped", str(error)
        except Diverged as error:
            status, reason = "diverged", str(error)
        except torch.cuda.OutOfMemoryError as error:
            status, reason = "oom", str(error).splitlines()[0]
        record.append("end", status=status, reason=reason, seconds=time.monotonic() - started)
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    return status


def _train(
    spec: Spec, method: Method, splits: Splits, folder: Path, device: torch.device, checkpoint: dict[str, Any] | None,
    checkpoint_seconds: float, record: RecordWriter, report: Report, stopping: Callable[[], bool],
) -> None:  # fmt: skip
    protocol = spec.effective_protocol
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(protocol.deterministic)
    torch.backends.cudnn.benchmark = not protocol.deterministic
    try:
        training = Training(spec, method, splits, device)
        if checkpoint is not None:
            training.load_state_dict(checkpoint)
        saved = time.monotonic()

        def on_step() -> None:
            nonlocal saved
            if stopping():
                save_checkpoint(folder / CHECKPOINT_FILE, training.state_dict())
                raise Stopped
            if time.monotonic() - saved > checkpoint_seconds:
                save_checkpoint(folder / CHECKPOINT_FILE, training.state_dict())
                saved = time.monotonic()

        while training.epoch < protocol.epochs:
            before = training.epoch
            epoch_started = time.monotonic()
            result = training.run_epoch(on_step)
            seconds = time.monotonic() - epoch_started
            due = training.epoch % protocol.evaluate_every == 0 or training.epoch == protocol.epochs
            measured = {
                name: measure_accuracy(training.ranked, training.normalise, feed)
                for name, feed in (splits.evaluation.items() if due else ())
            }
            record.append(
                "epoch",
                epoch=before + 1,
                train_loss=result.loss,
                parts=result.parts,
                learning_rate=result.learning_rate,
                seconds=seconds,
                test=measured.get("test"),
                validation=measured.get("validation"),
            )
            report({"epoch": training.epoch, "epochs": protocol.epochs, "seconds": seconds})
        _finish(spec, training, splits, folder, device, record)
    finally:
        torch.use_deterministic_algorithms(deterministic)


def _finish(
    spec: Spec, training: Training, splits: Splits, folder: Path, device: torch.device, record: RecordWriter
) -> None:
    ranked: Any = training.ranked
    save_weights(folder, ranked.model)
    context = Context(ranked, training.normalise, splits.evaluation, splits.facts.num_classes, device, spec.seed)
    predicted = predictions(context)
    save_predictions(folder, predicted.top1(), predicted.labels.numpy(), predicted.logits.numpy())
    images, labels = next(splits.evaluation["test"].batches(DIAGNOSTIC_IMAGES))
    ranked.eval()
    with torch.no_grad():
        batch = Batch((training.normalise(images),), labels)
        found = training.method.eval().diagnostics(ranked, batch, stream(spec.seed, "diagnostics"))
    for name, value in found.items():
        record.append("diagnostic", name=name, value=float(value))
