"""Leases: one holder at a time, judged without clocks; a holder that was paused or died does no harm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from bench.records import lease as lease_module
from bench.records import machine
from bench.records.lease import Watch, acquire, holder

HOLDS = """
import sys, time
from pathlib import Path
from bench.records.lease import acquire
lease = acquire(Path(sys.argv[1]), "r", float(sys.argv[2]))
print("held" if lease else "refused", flush=True)
while not lease.lost:
    time.sleep(0.02)
print("lost", flush=True)
lease.release()
"""


@pytest.fixture
def start(tmp_path):
    """Starts a process that holds the lease of run r until it loses it."""
    started: list[subprocess.Popen[str]] = []

    def begin(seconds: float) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLDS, str(tmp_path), str(seconds)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def wait_until_free(watch: Watch, seconds: float = 60.0) -> str | None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        may, expired = watch.look("r")
        if may:
            return expired
        time.sleep(0.02)
    raise AssertionError("the lease never became free")


def test_one_holder_at_a_time(tmp_path):
    first = acquire(tmp_path, "r")
    assert first is not None
    assert acquire(tmp_path, "r") is None
    other = acquire(tmp_path, "another")
    assert other is not None
    first.release()
    again = acquire(tmp_path, "r")
    assert again is not None
    found = holder(tmp_path, "r")
    assert (found.process, found.gone) == (os.getpid(), False)
    again.release()
    other.release()
    assert holder(tmp_path, "r") is None
    assert list(tmp_path.iterdir()) == []


def test_of_many_at_once_one_gets_it(tmp_path):
    for run in range(20):
        barrier, won = threading.Barrier(8), []

        def attempt(run=run, barrier=barrier, won=won):
            barrier.wait()
            if (lease := acquire(tmp_path, str(run))) is not None:
                won.append(lease)

        threads = [threading.Thread(target=attempt) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        won[0].release()


def test_a_living_holder_renews_and_is_never_taken_over(tmp_path, start):
    start(1.0)
    watch, seen = Watch(tmp_path), set()
    end = time.monotonic() + 4
    while time.monotonic() < end:
        assert watch.look("r") == (False, None)
        seen.add(holder(tmp_path, "r").content)
        time.sleep(0.05)
    assert len(seen) > 3
    assert acquire(tmp_path, "r", expired="another content") is None


def test_a_dead_holder_on_this_machine_is_known_at_once(tmp_path, start):
    process = start(600.0)
    assert Watch(tmp_path).look("r") == (False, None)
    process.kill()
    process.wait()
    assert holder(tmp_path, "r").gone
    assert Watch(tmp_path).look("r") == (True, None)
    lease = acquire(tmp_path, "r")
    assert lease is not None
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["2"]
    lease.release()


def test_a_dead_holder_elsewhere_is_taken_over_after_expiry(tmp_path, start):
    process = start(1.5)
    process.kill()
    process.wait()
    (file,) = (tmp_path / "r").iterdir()
    file.write_text(json.dumps({**json.loads(file.read_text()), "machine": "another one"}))
    began, watch = time.monotonic(), Watch(tmp_path)
    assert not holder(tmp_path, "r").gone
    assert acquire(tmp_path, "r") is None
    expired = wait_until_free(watch)
    assert time.monotonic() - began >= 1.5
    assert expired == file.read_text()
    lease = acquire(tmp_path, "r", expired=expired)
    assert lease is not None
    assert acquire(tmp_path, "r", expired=expired) is None
    lease.release()


def test_a_paused_holder_that_wakes_up_knows_that_it_lost(tmp_path, start):
    process = start(1.0)
    os.kill(process.pid, signal.SIGSTOP)
    expired = wait_until_free(Watch(tmp_path))
    assert expired is not None
    lease = acquire(tmp_path, "r", expired=expired)
    assert lease is not None
    content = holder(tmp_path, "r").content
    os.kill(process.pid, signal.SIGCONT)
    assert process.stdout.readline() == "lost\n"
    process.wait(20)
    assert not lease.lost
    assert json.loads(holder(tmp_path, "r").content)["token"] == json.loads(content)["token"]
    lease.release()


def test_a_holder_that_slept_too_long_gives_up_though_nobody_came(tmp_path, start):
    process = start(1.0)
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(1.6)
    os.kill(process.pid, signal.SIGCONT)
    assert process.stdout.readline() == "lost\n"


@pytest.mark.parametrize("generation", [1, 2])
def test_a_holder_that_beats_in_time_sees_that_another_one_holds_the_run(tmp_path, generation):
    """By a file of the next generation, or in its own file where the run was free in between; neither is touched."""
    lease = acquire(tmp_path, "r", 12.0)
    file = tmp_path / "r" / str(generation)
    beside = tmp_path / "r" / "another"
    beside.write_text("of another one")
    beside.replace(file)
    end = time.monotonic() + 60
    while not lease.lost:
        assert time.monotonic() < end
        time.sleep(0.02)
    lease.release()
    assert file.read_text() == "of another one"


def test_process_numbers_that_are_used_again_are_not_the_holder(tmp_path):
    own = machine.process_start(os.getpid())
    assert machine.runs_here(os.getpid(), own)
    assert not machine.runs_here(os.getpid(), str(int(own) - 1))
    assert not machine.runs_here(os.getpid(), "")


def test_two_who_saw_the_same_state_want_the_same_file(tmp_path, monkeypatch):
    """Both found nobody; the second one's look at the folder is older than the first one's lease."""
    folder = tmp_path / "r"
    first = acquire(tmp_path, "r")
    monkeypatch.setattr(lease_module, "_newest", lambda _: (0, ""))
    assert acquire(tmp_path, "r") is None
    assert [path.name for path in folder.iterdir()] == ["1"]
    first.release()


def test_an_empty_lease_expires_too(tmp_path, monkeypatch):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "1").touch()
    monkeypatch.setattr(lease_module, "LEASE_SECONDS", 0.1)
    assert wait_until_free(Watch(tmp_path)) == ""


@pytest.mark.parametrize("content", ["", "{", "[]", '{"token": 1}'])
def test_a_damaged_lease_holds_nobody_for_ever(tmp_path, content):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "7").write_text(content)
    lease = acquire(tmp_path, "r", expired=content)
    assert lease is not None
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["8"]
    lease.release()
