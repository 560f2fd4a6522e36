"""One process of a run that several share, started by torch's launcher."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

from bench.errors import BadInput
from bench.records import StorageError, disk_is_full
from bench.run.outcome import SAVING_SECONDS, TASK_FILE, Outcome, read_outcome, write_outcome
from bench.run.stop_signals import STOP_SIGNALS

ECHO_SECONDS = 10.0
"""How long a process with an error waits whether it is ended from outside, since then another one had died first."""
COLLECTIVE_SECONDS = 600.0
"""A process that waits longer for the others fails."""


def serve_rank(folder: Path) -> int:
    """Train the task of a folder together with the other processes; the exit code is 0 when there is nothing more to
    be done, else 1, which ends all of them."""
    if read_outcome(folder) is not None:  # the launcher starts all anew after any failure
        return 0
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: stop.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    threading.Thread(target=_leave_with_parent, args=(stop,), daemon=True).start()
    outcome = _train(json.loads((folder / TASK_FILE).read_text()), events, stop)
    if outcome is None:
        _end(1)
    first = os.environ["RANK"] == "0"
    if first or outcome.status not in ("ok", "skipped", "diverged", "interrupted"):
        write_outcome(folder, outcome)
    if outcome.status in ("error", "oom", "bad input"):
        _end(1)
    return 0


def _train(task: dict[str, Any], events: Any, stop: threading.Event) -> Outcome | None:
    """How it ended; None where that is a consequence of what happened to another process."""
    from bench.run.execute import Stopped
    from bench.run.memory import out_of_memory
    from bench.run.training_task import train_task

    def report(event: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):
            events.write(json.dumps(event) + "\n")

    try:
        ranks, device = _join(task)
        status = train_task(task, device, report, stop.is_set, ranks=ranks)
        return Outcome(status, None)
    except Stopped:
        return Outcome("interrupted", None)
    except BadInput as error:
        return Outcome("bad input", str(error))
    except StorageError as error:
        return Outcome("error", str(error), error.full)
    except Exception as error:
        if (reason := out_of_memory(error)) is not None:
            return Outcome("oom", reason)
        traceback.print_exc()
        if stop.wait(ECHO_SECONDS):
            return None
        full = isinstance(error, OSError) and disk_is_full(error)
        return Outcome("error", f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}", full)


def _join(task: dict[str, Any]) -> tuple[Any, Any]:
    """This process's ranks and device, once all processes are there: NCCL between GPUs, gloo otherwise."""
    import torch
    import torch.distributed as dist

    from bench.run.build import pick_device
    from bench.train.ranks import Ranks

    device = pick_device(task["device"])
    if device.type == "cuda":
        device = pick_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(device)
    limit = datetime.timedelta(seconds=COLLECTIVE_SECONDS)
    place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    server = dist.TCPStore(*place, is_master=False, timeout=limit)  # pyright: ignore[reportPrivateImportUsage]
    # torchrun keeps its store when it starts the group again, and there stand the addresses of those that died.
    start = f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    store = dist.PrefixStore(start, server)  # pyright: ignore[reportPrivateImportUsage]
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo", timeout=limit, store=store,
        rank=int(os.environ["RANK"]), world_size=int(os.environ["WORLD_SIZE"]),
    )  # fmt: skip
    control = dist.new_group(backend="gloo", timeout=limit) if device.type == "cuda" else None
    return Ranks(task["world_size"], dist.get_rank(), dist.get_world_size(), control), device


def _leave_with_parent(stop: threading.Event) -> None:
    """Runs in a thread: a closed stdin means save and leave, if need be by force."""
    while os.read(0, 4096):
        pass
    stop.set()
    time.sleep(2 * SAVING_SECONDS)
    _end(1)


def _end(code: int) -> NoReturn:
    """Leave without waiting for threads that may hang in an exchange."""
    sys.stderr.flush()
    os._exit(code)
