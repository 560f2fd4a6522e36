"""One sweep at a time, also while the workers of a killed one are still saving."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from bench.errors import BadInput
from bench.sweep.lock import results_lock

DIES_AND_LEAVES_A_WORKER = """
import os, subprocess, sys
from pathlib import Path
from bench.sweep.lock import results_lock
with results_lock(Path(sys.argv[1])) as lock:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3)"], pass_fds=(lock,))
    os._exit(9)
"""


def test_a_second_sweep_is_refused_while_the_first_lives(tmp_path):
    with results_lock(tmp_path), pytest.raises(BadInput, match="another mixbench run"), results_lock(tmp_path):
        raise AssertionError("the lock was given twice")


def test_the_lock_is_free_again_afterwards(tmp_path):
    for _ in range(2):
        with results_lock(tmp_path) as descriptor:
            assert descriptor > 2


def test_workers_of_a_killed_sweep_are_waited_for(tmp_path, capsys):
    done = subprocess.run([sys.executable, "-c", DIES_AND_LEAVES_A_WORKER, str(tmp_path)], check=False)
    assert done.returncode == 9
    with results_lock(tmp_path):
        assert "waiting for the workers of an interrupted run" in capsys.readouterr().err


def test_a_patient_one_waits_for_a_living_owner(tmp_path, capsys):
    inside, order = threading.Event(), []

    def second():
        inside.wait()
        with results_lock(tmp_path, patient=True):
            order.append("second")

    other = threading.Thread(target=second)
    other.start()
    with results_lock(tmp_path):
        inside.set()
        while "waiting for mixbench" not in capsys.readouterr().err:
            time.sleep(0.02)
        order.append("first")
    other.join()
    assert order == ["first", "second"]
