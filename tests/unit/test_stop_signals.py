"""A worker that is asked to stop while it still imports keeps the request until it can answer it."""

from __future__ import annotations

import signal
import subprocess
import sys

from bench.run.stop_signals import STOP_SIGNALS, stop_signals_wait

ASK_ITSELF = """
import os, signal, sys
os.kill(os.getpid(), int(sys.argv[1]))  # ends a process that does not hold it back
signal.signal(int(sys.argv[1]), lambda *_: print("asked to stop"))
signal.pthread_sigmask(signal.SIG_UNBLOCK, [int(sys.argv[1])])
"""


def child(number: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-S", "-c", ASK_ITSELF, str(number)], capture_output=True, text=True)


def test_signals_wait_for_their_handlers():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    for number in STOP_SIGNALS:
        with stop_signals_wait():
            done = child(int(number))
        assert (done.returncode, done.stdout) == (0, "asked to stop\n")
        assert child(int(number)).returncode == -number
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
