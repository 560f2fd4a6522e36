"""Events of a sweep for whoever wants to follow it: plain dicts, told in the process that holds the sweep.

What is told is read from the records as they grow, so it is the same whatever executor does the runs, and a listener
can neither slow a run down nor change it.
"""

from __future__ import annotations

import importlib
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput, nearest
from bench.records import TRAIN_FILE
from bench.records.line import decode

if TYPE_CHECKING:
    from bench.sweep.executors.api import Event

Listener = Callable[[dict[str, Any]], object]
EVENTS = ("run_started", "epoch", "metric", "run_ended", "sweep_ended")
"""What an event's key "event" may say; docs/events.md tells the other keys."""


class Listeners:
    """Tells every listener each event, in order. One that raises is reported once on stderr and told nothing more."""

    def __init__(self, listeners: Sequence[Listener] = ()) -> None:
        self._listeners = list(listeners)
        self._tails: dict[str, RecordTail] = {}

    def heard(self, event: Event) -> None:
        """What an executor says of a task, together with what the run has recorded since."""
        if not self._listeners or event.task.get("task") != "run":
            return
        name = event.task["name"]
        known = name in self._tails
        if not known:
            self._tails[name] = RecordTail(Path(event.task["folder"]))
        if event.kind == "waiting":
            return
        if event.kind == "start" or not known:
            spec = event.task["spec"]
            self._tell(event, "run_started", spec=spec, folder=event.task["folder"], training=event.task["train"])
        for line in self._tails[name].news():
            kind = line.pop("kind")
            if kind in ("epoch", "metric"):
                self._tell(event, kind, **line)
        if event.kind == "done":
            del self._tails[name]
            fields = event.fields
            self._tell(event, "run_ended", status=fields["status"], reason=fields.get("reason"),
                       seconds=fields.get("seconds"))  # fmt: skip

    def close(self) -> None:
        """The last event; nothing is told afterwards."""
        self._send({"event": "sweep_ended", "time": time.time()})
        self._listeners.clear()

    def _tell(self, event: Event, kind: str, **fields: Any) -> None:
        spec = event.task["spec"]
        own = {"run_id": event.task["name"], "labels": spec["labels"], "seed": spec["seed"]}
        self._send({**fields, "event": kind, "time": time.time(), **own})

    def _send(self, event: dict[str, Any]) -> None:
        for listener in list(self._listeners):
            try:
                listener(dict(event))
            except Exception:
                self._listeners.remove(listener)
                what = f"{getattr(listener, '__module__', '?')}:{getattr(listener, '__qualname__', listener)}"
                print(f"listener {what} failed at '{event['event']}' and is told nothing more:", file=sys.stderr)
                traceback.print_exc()


class RecordTail:
    """The lines that an attempt's records have got since it was last asked; those of its beginning are old.

    A line counts once it is finished; damaged ones are left out. Metric lines get a key "evaluator".
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read = {path: path.stat().st_size for path in self._files()}

    def news(self) -> Iterator[dict[str, Any]]:
        """New lines, those of training first."""
        for path in self._files():
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                content = file.read()
            whole = content[: content.rfind(b"\n") + 1]
            self._read[path] = self._read.get(path, 0) + len(whole)
            for raw in whole.split(b"\n"):
                line = decode(raw) if raw else None
                if line is not None:
                    own = {} if path.name == TRAIN_FILE else {"evaluator": _evaluator(path)}
                    yield {**line, **own}

    def _files(self) -> list[Path]:
        found = [self._folder / TRAIN_FILE, *sorted(self._folder.glob("eval-*.jsonl"))]
        return [path for path in found if path.is_file()]


def find_listener(given: str) -> Listener:
    """A listener from "module:function", looked for on Python's path and in the current folder. BadInput otherwise."""
    where = f"--on-event {given}"
    module_name, _, name = given.partition(":")
    if not module_name or not name:
        raise BadInput(f"{where}: is not MODULE:FUNCTION")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise BadInput(f"{where}: {module_name} cannot be imported ({type(error).__name__}: {error})") from error
    found: Any = getattr(module, name, None)
    if not callable(found):
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise BadInput(f"{where}: {module_name} has no function '{name}'; {nearest(name, public)}")
    return found


def _evaluator(path: Path) -> str:
    return path.stem.removeprefix("eval-").rpartition("-")[0]
