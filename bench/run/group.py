"""A run that several processes share: torch's elastic launcher starts them, and starts them anew when one dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.records import StorageError
from bench.run.execute import Report, Stopped
from bench.run.outcome import SAVING_SECONDS, TASK_FILE, read_outcome
from bench.run.stop_signals import stop_signals_wait

LOOK_SECONDS = 0.2


def train_in_group(task: dict[str, Any], report: Report, stopping: Callable[[], bool]) -> tuple[str, str | None]:
    """Train a task in `task["processes"]` processes and return status and reason. Stopped once the state is saved.

    The processes end when their stdin does, so they outlive neither this one nor its wish to stop. A process that is
    killed takes the others with it; all are started again, up to `task["restarts"]` times, and go on from the
    checkpoint. A process that fails in another way ends the run.
    """
    with tempfile.TemporaryDirectory(prefix="mixbench-run-") as name:
        folder = Path(name)
        (folder / TASK_FILE).write_text(json.dumps(task))
        with stop_signals_wait():  # in the launcher for ever: it would end the processes before they have saved
            launcher = subprocess.Popen(
                _command(folder, task["processes"], task["restarts"]),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment(), text=True,
            )  # fmt: skip
        stopped = threading.Event()
        threading.Thread(target=_watch, args=(launcher, stopping, stopped), daemon=True).start()
        with launcher:  # closes its pipes and waits for it
            for line in launcher.stdout or ():
                report(json.loads(line))
        code = launcher.returncode
        outcome = read_outcome(folder)
    if outcome is None and not stopped.is_set():
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return "error", f"its processes died; their launcher {how} after {task['restarts']} restarts at most"
    if outcome is None or (outcome.status == "interrupted" and stopping()):
        raise Stopped
    if outcome.full:
        raise StorageError(outcome.reason or "", full=True)
    return outcome.status, outcome.reason


def _command(folder: Path, processes: int, restarts: int) -> list[str]:
    return [
        sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1",
        "--nproc-per-node", str(processes), "--max-restarts", str(restarts), "--log-dir", str(folder / "logs"),
        "--module", "bench.cli", "rank", str(folder),
    ]  # fmt: skip


def _environment() -> dict[str, str]:
    """The launcher starts processes without `-P`, so the environment says it. Gloo would ask a name server for this
    machine's address, which not every machine has."""
    gloo = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    return {**gloo, **os.environ, "PYTHONSAFEPATH": "1"}


def _watch(launcher: subprocess.Popen[str], stopping: Callable[[], bool], stopped: threading.Event) -> None:
    """Ask the processes to save and leave when it is time; end the launcher where that takes too long."""
    while launcher.poll() is None:
        if stopping():
            stopped.set()
            _close(launcher)
            try:
                launcher.wait(SAVING_SECONDS)
            except subprocess.TimeoutExpired:
                launcher.kill()
            return
        stopped.wait(LOOK_SECONDS)


def _close(launcher: subprocess.Popen[str]) -> None:
    if launcher.stdin is not None and not launcher.stdin.closed:
        launcher.stdin.close()
