"""Train one spec into an attempt folder: begin, epochs, weights, predictions, diagnostics, end."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from bench.backbones.stages import StageRefused
from bench.data.open import Splits
from bench.env import provenance
from bench.evals.api import Context
from bench.evals.forward import evaluation_mode
from bench.records import CHECKPOINT_FILE, SCHEMA, TRAIN_FILE, RecordWriter, read_record
from bench.records.training_summary import epochs_of
from bench.rng import stream
from bench.run.best import BestWeights
from bench.run.finished import save_method, save_predictions, save_weights
from bench.run.memory import out_of_memory
from bench.run.shared import NoRecord, shared_predictions
from bench.spec import Spec
from bench.train.accuracy import Accuracy, measure_accuracy
from bench.train.checkpoint import load_checkpoint, save_checkpoint
from bench.train.collective import decided, wait_for_all
from bench.train.ranks import Ranks
from bench.train.reuse import StepCache
from bench.train.settings import library_settings
from bench.train.training import Diverged, Skipped, Training
from methods.api import Batch, Method

DIAGNOSTIC_IMAGES = 256

Report = Callable[[dict[str, Any]], None]


class Stopped(Exception):
    """Somebody asked the run to stop; its checkpoint is written."""


def train_run(
    spec: Spec, method: Method, splits: Splits, folder: Path, device: torch.device, source_digest: str,
    planned: list[int], checkpoint_seconds: float, report: Report, stopping: Callable[[], bool],
    steps: StepCache | None = None, ranks: Ranks | None = None,
) -> str:  # fmt: skip
    """Train to the end and return the status ("ok", "diverged", "oom", "skipped"); the record tells all of it.

    Continues from the attempt's checkpoint where it has one. report gets {"units": epochs done} as training goes on.
    stopping is asked after every step; Stopped is raised once the state is saved. planned: the seeds of this arm.
    steps: where a compiled step is kept for the next run. ranks: those that this process is, by default all. Where
    several processes share the run, all call this; the first one alone writes, and is asked whether to stop.
    """
    started = time.monotonic()
    ranks = ranks or Ranks(spec.effective_protocol.world_size)
    if ranks.first:
        _remove_leftovers(folder)
    earlier = read_record(folder / TRAIN_FILE).lines
    checkpoint, lost = _usable_checkpoint(folder, earlier)
    wait_for_all(ranks)  # nobody writes before everybody has read
    if lost and ranks.first:
        print(f"{folder}: {lost}; training starts again from the first epoch", file=sys.stderr)
    with library_settings(spec.effective_protocol):
        training, status, reason = _prepare(spec, method, splits, device, steps, ranks)
        with RecordWriter(folder / TRAIN_FILE) if ranks.first else NoRecord() as record:
            record.append(
                "resume" if earlier else "begin",
                schema=SCHEMA,
                run_id=spec.run_id,
                spec=spec.model_dump(mode="json"),
                labels=spec.labels.model_dump(),
                provenance=provenance(device.type),
                source_digest=source_digest,
                planned=planned,
                epoch=0 if checkpoint is None else checkpoint["epoch"],
                time=time.time(),
                **({"restarted": lost} if lost else {}),
                **({"processes": ranks.processes} if ranks.world_size > 1 else {}),
            )
            if training is not None:
                if checkpoint is not None:
                    training.load_state_dict(checkpoint)
                saver = _Saver(folder / CHECKPOINT_FILE, training, checkpoint_seconds, stopping)
                best = None
                if isinstance(record, RecordWriter) and _keeps_best(splits):
                    best = BestWeights(record, folder, earlier if checkpoint else [])
                try:
                    _train(training, splits, saver, record, report, best)
                    _finish(spec, training, splits, folder, device, record)
                except StageRefused as error:
                    status, reason = "skipped", str(error)
                except Diverged as error:
                    status, reason = "diverged", str(error)
                except (RuntimeError, MemoryError) as error:
                    reason = out_of_memory(error)
                    if reason is None or not ranks.first:  # only the first can tell the record
                        raise
                    status = "oom"
            record.append("end", status=status, reason=reason, seconds=time.monotonic() - started)
    if status != "oom" and ranks.first:
        (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    return status


def _prepare(
    spec: Spec, method: Method, splits: Splits, device: torch.device, steps: StepCache | None, ranks: Ranks
) -> tuple[Training | None, str, str | None]:
    """Build everything before the record begins, so that what a user got wrong leaves no record."""
    try:
        return Training(spec, method, splits, device, steps, ranks), "ok", None
    except (Skipped, StageRefused) as error:
        return None, "skipped", str(error)
    except (RuntimeError, MemoryError) as error:
        if (reason := out_of_memory(error)) is None or not ranks.first:
            raise
        return None, "oom", reason


def _usable_checkpoint(folder: Path, lines: list[dict[str, Any]]) -> tuple[dict[str, Any] | None, str]:
    """An attempt's checkpoint, or None with the reason why the one that lies there cannot be used ("": there is none).

    It is of no use where the record has lost an epoch that it stands after: the run would end with a gap.
    """
    path = folder / CHECKPOINT_FILE
    checkpoint = load_checkpoint(path)
    if checkpoint is None:
        return None, f"{path.name} is damaged" if path.is_file() else ""
    gaps = [epoch for epoch in range(1, checkpoint["epoch"] + 1) if epoch not in epochs_of(lines)]
    return (None, f"the record has lost epoch {gaps[0]}") if gaps else (checkpoint, "")


def _remove_leftovers(folder: Path) -> None:
    """Take away what a killed process had half written beside the files of an attempt."""
    for path in folder.glob(".*.*.[0-9]*"):
        path.unlink(missing_ok=True)


def _keeps_best(splits: Splits) -> bool:
    """Only where there are validation images, and never in a trial of a tuning, whose numbers are all that counts."""
    return {"validation", "test"} <= splits.evaluation.keys()


class _Saver:
    """After each step: save the state when it is time, or save and stop when asked to."""

    def __init__(self, path: Path, training: Training, seconds: float, stopping: Callable[[], bool]) -> None:
        self._path, self._training, self._seconds, self._stopping = path, training, seconds, stopping
        self._saved = time.monotonic()

    def __call__(self) -> None:
        ranks = self._training.ranks
        stop, due = decided(ranks, self._stopping(), time.monotonic() - self._saved > self._seconds)
        if stop or due:
            state = self._training.state_dict()
            if ranks.first:
                save_checkpoint(self._path, state)
            self._saved = time.monotonic()
        if stop:
            raise Stopped


def _train(
    training: Training, splits: Splits, saver: _Saver, record: RecordWriter | NoRecord, report: Report,
    best: BestWeights | None,
) -> None:  # fmt: skip
    protocol = training.protocol
    measured: dict[str, Accuracy] = {}
    while training.epoch < protocol.epochs:
        started = time.monotonic()
        result = training.run_epoch(saver)
        seconds = time.monotonic() - started
        last = training.epoch == protocol.epochs
        due = last or training.epoch % protocol.evaluate_every == 0
        # what a run is ranked by is measured as its predictions are; on the way a GPU may shorten float32
        with evaluation_mode(training.ranked, training.device) if last else nullcontext():
            measured = {
                name: measure_accuracy(training.ranked, training.normalise, feed, training.ranks)
                for name, feed in (splits.evaluation.items() if due else ())
                if name != "held_out"
            }
        record.append(
            "epoch",
            epoch=training.epoch,
            train_loss=result.loss,
            parts=result.parts,
            learning_rate=result.learning_rate,
            seconds=seconds,
            test=measured.get("test"),
            validation=measured.get("validation"),
        )
        if best is not None and due:
            ranked: Any = training.ranked
            best.offer(ranked.model, training.epoch, measured["validation"])
        if training.ranks.first:
            report({"units": training.epoch})
    for name, accuracy in measured.items():
        if not math.isfinite(accuracy["nll"]):
            raise Diverged(f"the loss on the {name} split is not finite after the last epoch")


def _finish(
    spec: Spec, training: Training, splits: Splits, folder: Path, device: torch.device, record: RecordWriter | NoRecord
) -> None:
    if "test" not in splits.evaluation:  # a trial of a tuning: its numbers are all that is wanted of it
        return
    ranked: Any = training.ranked
    context = Context(ranked, training.normalise, splits.evaluation, splits.facts.num_classes, device, spec.seed)
    predicted = shared_predictions(context, training.ranks)
    if isinstance(record, NoRecord):
        return
    save_weights(record, folder, ranked.model)
    save_method(record, folder, training.method)
    save_predictions(record, folder, predicted.top1(), predicted.labels.numpy(), predicted.logits.numpy())
    images, labels = next(splits.evaluation["test"].batches(DIAGNOSTIC_IMAGES))
    ranked.eval()
    with torch.no_grad():
        batch = Batch((training.normalise(images),), labels)
        found = training.method.eval().diagnostics(ranked, batch, stream(spec.seed, "diagnostics"))
    for name, value in found.items():
        record.append("diagnostic", name=name, value=float(value))
