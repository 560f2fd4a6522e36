"""A worker process: takes tasks as JSON lines on stdin, answers events as JSON lines on stdout.

Imports are slow and many runs share them, so a worker takes run after run. Its parent replaces it after a failure.
When its parent goes away (stdin closes) or it is asked to stop (SIGTERM, or SIGUSR2 from SLURM), it saves the run's
state and leaves.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.data.normalise import Normaliser
from bench.data.open import Splits, open_data
from bench.errors import BadInput
from bench.evals.api import Context
from bench.evals.registry import EvalArm
from bench.records import StorageError, disk_is_full
from bench.records.errors import storage
from bench.run.build import build_method, pick_device, splits_for
from bench.run.claim import ELSEWHERE, LOST, Claim, Elsewhere, finished_evaluation
from bench.run.evaluation import evaluate_arm
from bench.run.execute import Stopped
from bench.run.finished import load_trained, trained_method
from bench.run.group import train_in_group
from bench.run.memory import out_of_memory
from bench.run.stop_signals import STOP_SIGNALS
from bench.run.training_task import prepared_splits, train_task
from bench.spec import Spec
from bench.speed.session import time_methods
from bench.train.reuse import StepCache


def serve() -> int:
    """Work until stdin closes. Everything printed by libraries goes to stderr, stdout carries events only."""
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = Worker(events)
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: worker.stop.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # its parent blocks them while all is imported
    threading.Thread(target=worker.read_tasks, daemon=True).start()
    worker.run()
    return 0


class Worker:
    """One process's loop over tasks."""

    def __init__(self, events: Any) -> None:
        self.events = events
        self.stop = threading.Event()
        self.tasks: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.steps = StepCache()
        self.claim = Claim({})

    def read_tasks(self) -> None:
        """Runs in a thread: hand tasks on; a closed stdin means stop."""
        for line in sys.stdin:
            self.tasks.put(json.loads(line))
        self.stop.set()
        self.tasks.put(None)

    def run(self) -> None:
        """Take tasks until told to stop; leave after a failure, since its cause may linger in the process."""
        self.send({"event": "ready"})
        while not self.stop.is_set() and (task := self.tasks.get()) is not None:
            if not self.handle(task):
                return

    def send(self, event: dict[str, Any]) -> None:
        """One event to the parent; a parent that is gone does not matter."""
        try:
            self.events.write(json.dumps(event) + "\n")
        except (BrokenPipeError, ValueError):
            self.stop.set()

    def handle(self, task: dict[str, Any]) -> bool:
        """Do one task; False when this process should not take another one."""
        started = time.monotonic()
        full = False
        self.claim = Claim(task)
        try:
            self.print_to(Path(task["folder"]) / "log.txt")
            with self.claim:
                status, reason = self.time_speed(task) if task["task"] == "speed" else self.train_and_evaluate(task)
        except Elsewhere as found:
            status, reason = ELSEWHERE, str(found)
        except Stopped:
            status, reason = ("interrupted", "stopped") if self.stop.is_set() else (ELSEWHERE, LOST)
        except BadInput as error:
            status, reason = "bad input", str(error)
        except StorageError as error:
            status, reason, full = "error", str(error), error.full
        except Exception as error:
            full = isinstance(error, OSError) and disk_is_full(error)
            if (reason := out_of_memory(error)) is not None:
                status = "oom"
            else:
                with contextlib.suppress(OSError):  # the log lies on the disk that may be full
                    traceback.print_exc()
                status, reason = "error", f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        stays = status in ("ok", "refused", "skipped", "diverged", ELSEWHERE)
        seconds = time.monotonic() - started
        self.send(
            {"event": "done", "status": status, "reason": reason, "seconds": seconds, "full": full, "leaves": not stays}
        )
        return stays

    def stopping(self) -> bool:
        """Whether the task at hand is to be given up: the parent wants it, or somebody else does it now."""
        return self.stop.is_set() or self.claim.lost

    def print_to(self, log: Path) -> None:
        """What is printed from now on goes to this file; a folder that somebody took away is made again."""
        with storage("cannot open", log):
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a") as file:
                os.dup2(file.fileno(), sys.stderr.fileno())
                os.dup2(file.fileno(), sys.stdout.fileno())

    def train_and_evaluate(self, task: dict[str, Any]) -> tuple[str, str | None]:
        """Train unless that is done already, then what evaluations are missing."""
        spec = Spec.model_validate(task["spec"], strict=False)
        folder = Path(task["folder"])
        device = pick_device(task["device"])

        def report(event: dict[str, Any]) -> None:
            self.send({"event": "progress", **event})

        if task["train"]:
            if task["processes"] > 1:
                status, reason = train_in_group(task, report, self.stopping)
            else:
                status, reason = train_task(task, device, report, self.stopping, self.steps), None
            if status != "ok":
                return status, reason
        splits = prepared_splits(task, spec, device)
        failures: list[str] = []
        refusals: list[str] = []
        for count, arm in enumerate(task["evals"]):
            done = count + (spec.effective_protocol.epochs if task["train"] else 0)
            progress = lambda share, done=done: report({"units": done + share})  # noqa: E731
            name = arm["arm"]["name"]
            if finished_evaluation(Path(arm["file"])):  # another sweep was faster
                continue
            try:
                self.evaluate(arm, spec, folder, splits, device, progress)
            except BadInput as error:
                refusals.append(f"{name}: {error}")
            except (Stopped, StorageError):
                raise
            except Exception as error:  # the other evaluators go on
                if out_of_memory(error) is not None:
                    raise
                traceback.print_exc()
                failures.append(f"{name}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        if failures:
            return "error", "; ".join(failures + refusals)
        return ("refused", "; ".join(refusals)) if refusals else ("ok", None)

    def evaluate(
        self, arm: dict[str, Any], spec: Spec, folder: Path, splits: Splits, device: torch.device,
        progress: Callable[[float], None],
    ) -> None:  # fmt: skip
        """Record one evaluator's metrics. BadInput where its settings do not go with this data or backbone."""
        facts = splits.facts
        backbone = load_trained(spec, folder, splits, device)
        others: dict[str, torch.nn.Module] = {}
        for name, other in arm["others"].items():
            other_spec = Spec.model_validate(other["spec"], strict=False)
            others[name] = load_trained(other_spec, Path(other["folder"]), splits, device)
        evaluation = dict(splits.evaluation)
        if spec.protocol.trained_elsewhere:  # its training may well have seen what is held out here
            evaluation.pop("validation", None)
        context = Context(
            backbone, Normaliser(spec.data.mean, spec.data.std).to(device), evaluation, facts.num_classes,
            device, spec.seed, facts.class_names, others, trained_method(spec, folder, backbone, facts.num_classes),
        )  # fmt: skip
        evaluate_arm(
            EvalArm(**arm["arm"]), context, Path(arm["file"]), arm["source_digest"],
            {name: other["run_id"] for name, other in arm["others"].items()},
            Path(arm["carried"]) if arm["carried"] else None, progress, self.stopping,
        )  # fmt: skip

    def time_speed(self, task: dict[str, Any]) -> tuple[str, str | None]:
        """One timing session over several specs of a cell."""
        specs = [Spec.model_validate(spec, strict=False) for spec in task["specs"]]
        device = pick_device(task["device"])
        torch.set_num_threads(task["threads"])
        data = specs[0].data

        def open_splits() -> Splits:
            if data.source == "streaming":
                return open_data(data, device)
            return splits_for(data.model_dump_json(), str(device))

        def report(event: dict[str, Any]) -> None:
            if self.stop.is_set():
                raise Stopped
            self.send({"event": "progress", **event})

        time_methods(
            Path(task["file"]), specs, lambda spec: build_method(spec.method), open_splits, device, task["settings"],
            task["source_digests"], report,
        )  # fmt: skip
        return "ok", None
