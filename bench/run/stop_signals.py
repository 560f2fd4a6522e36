"""Signals that ask a worker to save its run's state and leave, held back while it starts."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Generator

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR2)
"""SLURM sends SIGUSR2 ahead of a time limit, and SIGTERM when it takes a job's node away, to all processes of a job."""


@contextlib.contextmanager
def stop_signals_wait() -> Generator[None]:
    """A process that is started inside inherits blocked signals: they wait until it has installed its handlers.

    Only for the thread that this is called in.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
