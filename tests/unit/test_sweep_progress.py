"""What a person sees of many workers, on a terminal and in a log."""

from __future__ import annotations

import io
import re
import sys

import pytest

from bench.sweep.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_now_and_then(clock, capsys):
    progress = Progress("suite", 60, 6)
    for number in range(6):
        progress.start(f"id{number}", f"erm seed {number}", 10)
    for second in range(1, 50):
        clock[0] = second
        progress.advance(f"id{second % 6}", second / 6)
    progress.finish("id0", 10, "erm seed 0: ok")
    progress.leave("id1")
    clock[0] = 100
    progress.advance("id2", 9)
    progress.close()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4  # at 21 s, at 42 s, the finished run, at 100 s
    assert re.fullmatch(
        r"suite: 3\d % done, about \S+ (s|min \d+ s) left; at work: erm seed 0 3/10, erm seed 1 3.17/10, "
        r"erm seed 2 3.33/10, erm seed 3 3.5/10 and 2 more",
        lines[0],
    )
    assert lines[2] == "[1/6] erm seed 0: ok"
    assert "at work: erm seed 2 9/10, erm seed 3" in lines[3]
    assert "erm seed 1 " not in lines[3]


def test_a_log_of_short_runs_tells_the_time_left_too(clock, capsys):
    progress = Progress("suite", 60, 6)
    for number in range(6):
        clock[0] += 11
        progress.finish(f"id{number}", 10, f"run {number}: ok")
    clock[0] += 30
    progress.advance("id5", 10)
    progress.close()
    assert capsys.readouterr().err.splitlines() == [
        "[1/6] run 0: ok",
        "[2/6] run 1: ok",
        "suite: 33 % done, about 44 s left",
        "[3/6] run 2: ok",
        "[4/6] run 3: ok",
        "suite: 67 % done, about 22 s left",
        "[5/6] run 4: ok",
        "[6/6] run 5: ok",  # nothing is left to tell
    ]


def test_a_terminal_gets_a_row_for_each_run_under_way(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("LINES", "6")
    monkeypatch.setenv("COLUMNS", "100")
    progress = Progress("suite", 30, 3)
    for number in range(3):
        progress.start(f"id{number}", f"erm seed {number}", 10)
    text = screen.getvalue()
    assert "erm seed 0: 0/10" in text  # six rows less four leave one, without the bar of the sum
    assert "erm seed 1" not in text
    progress.finish("id0", 10, "done with 0")
    progress.advance("id1", 5)
    progress.close()
    text = screen.getvalue()
    assert "erm seed 1: 5/10" in text
    assert "done with 0\n" in text
    assert "erm seed 2" not in text
    assert "1/3 runs" in text


def test_what_came_before_does_not_count_for_the_time_left(clock, capsys):
    progress = Progress("suite", 10, 1)
    clock[0] = 300
    progress.measure_from_here()
    progress.advance("id", 0)
    for done in range(1, 4):
        clock[0] += 25
        progress.advance("id", done)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "suite: 10 % done, about 3 min 45 s left",
        "suite: 20 % done, about 3 min 20 s left",
        "suite: 30 % done, about 2 min 55 s left",
    ]


def test_a_terminal_tells_the_same_time_left(clock, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    progress = Progress("suite", 10, 1)
    clock[0] = 300
    progress.measure_from_here()
    clock[0] += 25
    progress.advance("id", 1)
    progress.close()
    assert "0/1 runs, about 3 min 45 s left" in screen.getvalue()
