"""A `mixbench` process and its workers made by fork from a process that has imported everything, for fault studies.

The executor, the store and the worker's loop are the real ones. Only how a worker comes into being differs: instead of
a new interpreter, which takes seconds to import torch, a copy of this process, with the same pipes and signals.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

PIDS = "workers.txt"
_REAL_POPEN: Any = subprocess.Popen


def fork_mixbench(arguments: list[str], folder: Path, checkpoint_seconds: float) -> int:
    """Start `mixbench ARGUMENTS` in `folder`; gives its process id. What it prints is appended to `life.txt`.

    The ids of its workers are appended to `workers.txt`. checkpoint_seconds: how often its runs save their state.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.chdir(folder)
        with Path("life.txt").open("a") as printed:
            for number in (1, 2):
                os.dup2(printed.fileno(), number)
        _open_standard_streams()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork() == 0:
            ours.close()
            _serve_forks(theirs, checkpoint_seconds)
        theirs.close()
        subprocess.Popen = functools.partial(_popen, _Forks(ours))  # type: ignore[misc]
        from bench.cli.main import main

        code = main(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(code)


def _open_standard_streams() -> None:
    """Streams over descriptors 0 to 2, which stay open when other streams follow them."""
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115


def _popen(forks: _Forks, command: list[str], **options: Any) -> Any:
    return ForkedWorker(forks, **options) if command[-1] == "worker" else _REAL_POPEN(command, **options)


class _Forks:
    """Asks the process that forks workers."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._lock = connection, threading.Lock()

    def ask(self, question: dict[str, Any], descriptors: list[int] | None = None) -> Any:
        with self._lock:
            socket.send_fds(self._connection, [json.dumps(question).encode()], descriptors or [])
            return json.loads(self._connection.recv(4096))


class ForkedWorker:
    """As much of subprocess.Popen as an executor uses."""

    def __init__(
        self, forks: _Forks, stderr: Any, env: dict[str, str], pass_fds: tuple[int, ...] = (), **_: Any
    ) -> None:
        self._forks, self._code = forks, None
        read_task, write_task = os.pipe()
        read_event, write_event = os.pipe()
        changed = {name: value for name, value in env.items() if os.environ.get(name) != value}
        question = {"ask": "fork", "env": changed, "keep": list(pass_fds)}
        self.pid: int = forks.ask(question, [read_task, write_event, stderr.fileno(), *pass_fds])
        os.close(read_task)
        os.close(write_event)
        self.stdin, self.stdout = os.fdopen(write_task, "w"), os.fdopen(read_event)

    def poll(self) -> int | None:
        """The exit code, minus the signal's number where one ended it; None while it lives."""
        if self._code is None:
            self._code = self._forks.ask({"ask": "poll", "pid": self.pid})
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired("worker", timeout or 0.0)
            time.sleep(0.01)
        return code

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to stop."""
        self.send_signal(signal.SIGTERM)

    def send_signal(self, number: int) -> None:
        """Any signal, while it lives."""
        if self.poll() is None:
            os.kill(self.pid, number)


def _serve_forks(connection: socket.socket, checkpoint_seconds: float) -> None:
    """Fork workers on demand and tell how they ended, until the asking process is gone."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 16)
        if not message:
            os._exit(0)
        question = json.loads(message)
        if question["ask"] == "poll":
            pid, status = os.waitpid(question["pid"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                connection.close()
                _become_worker(descriptors, question, checkpoint_seconds)
            with Path(PIDS).open("a") as pids:
                pids.write(f"{answer}\n")
            for descriptor in descriptors:
                os.close(descriptor)
        connection.send(json.dumps(answer).encode())


def _become_worker(descriptors: list[int], question: dict[str, Any], checkpoint_seconds: float) -> None:
    os.setsid()
    for number in (0, 1, 2):
        os.dup2(descriptors[number], number)
        os.close(descriptors[number])
    _open_standard_streams()
    os.environ.update(question["env"])
    code = 1
    try:
        import bench.run.training_task as training_task
        import bench.run.worker as worker

        train: Any = training_task.train_run

        def train_and_save_often(*arguments: Any) -> str:
            return train(*arguments[:7], checkpoint_seconds, *arguments[8:])

        training_task.train_run = train_and_save_often
        code = worker.serve()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
