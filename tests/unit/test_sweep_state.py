"""What runs are doing and how long the rest takes, from records whose times are known."""

from __future__ import annotations

import json
import os
import re
import socket

import pytest
from recorded_runs import MACHINE, write_run

from bench.cli.main import main
from bench.config.overrides import parse_set_options
from bench.config.suite import load_suite
from bench.records import CHECKPOINT_FILE, Store
from bench.records.lease import acquire
from bench.sweep.state import ACTIVE_SECONDS, run_states, time_left
from bench.sweep.todo import find_todo

NOW = 2_000_000_000.0
SETTINGS = ["seeds=3", "methods=[erm,mixup]", "evals=[clean,digits-fgsm]", "protocol.epochs=10"]
SETTINGS += ["protocol.warmup_epochs=0"]


@pytest.fixture
def suite(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path / "cache"))
    return load_suite("quickstart", parse_set_options(SETTINGS))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results" / "records")


@pytest.fixture
def runs(suite, store):
    return {(item.spec.labels.method, item.spec.seed): item for item in find_todo(suite, store)}


def states(suite, store):
    return {(one.item.spec.labels.method, one.item.spec.seed): one for one in run_states(find_todo(suite, store), NOW)}


def left(suite, store):
    return time_left(run_states(find_todo(suite, store), NOW), suite.evals)


@pytest.mark.parametrize(
    ("status", "quiet", "state"),
    [
        (None, ACTIVE_SECONDS - 1, "running"), (None, ACTIVE_SECONDS + 1, "waiting"), ("error", 0, "failed"),
        ("oom", 0, "failed"), ("timeout", 0, "failed"), ("diverged", 0, "failed"), ("interrupted", 0, "waiting"),
        ("skipped", 0, "done"),
    ],
)  # fmt: skip
def test_state_of_a_run(suite, store, runs, status, quiet, state):
    write_run(store, runs["erm", 1], [1.0, 1.0], status, quiet=quiet, reason="no room", now=NOW)
    found = states(suite, store)
    assert found["erm", 1].state == state
    assert {one.state for name, one in found.items() if name != ("erm", 1)} == {"waiting"}
    if state == "running":
        assert found["erm", 1].why == f"epoch 2 of 10, last change {quiet:.0f} s ago, Abacus, 1 thread(s)"
    if state == "failed":
        assert found["erm", 1].why == f"{status}: no room"


def test_a_checkpoint_alone_shows_that_a_run_is_alive(suite, store, runs):
    folder = write_run(store, runs["erm", 0], [1.0], None, quiet=10 * ACTIVE_SECONDS, now=NOW)
    assert states(suite, store)["erm", 0].state == "waiting"
    (folder / CHECKPOINT_FILE).write_bytes(b"x")  # now, which is long before NOW
    assert states(suite, store)["erm", 0].state == "waiting"
    checkpoint = folder / CHECKPOINT_FILE
    os.utime(checkpoint, (NOW - 20, NOW - 20))
    assert states(suite, store)["erm", 0].state == "running"


def test_a_held_run_is_running_and_says_where(suite, store, runs, tmp_path):
    write_run(store, runs["erm", 0], [1.0], None)
    write_run(store, runs["erm", 2], [1.0], None)
    leases = tmp_path / "leases"
    held = [acquire(leases, runs[key].spec.run_id) for key in (("erm", 0), ("erm", 1), ("mixup", 0))]
    try:
        forgotten = leases / runs["mixup", 0].spec.run_id / "1"
        os.utime(forgotten, (1e9, 1e9))
        dead = leases / runs["erm", 2].spec.run_id / "1"
        dead.parent.mkdir()
        fields = json.loads((leases / runs["erm", 0].spec.run_id / "1").read_text())
        dead.write_text(json.dumps({**fields, "started": "long ago"}))
        found = {
            (one.item.spec.labels.method, one.item.spec.seed): one
            for one in run_states(find_todo(suite, store), leases=leases)
        }
    finally:
        for lease in held:
            lease.release()
    where = f"on {socket.gethostname()}, process {os.getpid()}"
    assert re.fullmatch(rf"epoch 1 of 10, last change \d s ago, {where}, Abacus, 1 thread\(s\)", found["erm", 0].why)
    assert found["erm", 1].why == f"epoch 0 of 10, {where}"  # it has not written a line yet
    states = {name: one.state for name, one in found.items()}
    running = {("erm", 0), ("erm", 1)}  # erm 2's holder is gone, mixup 0's lease has not been renewed for years
    assert states == {name: "running" if name in running else "waiting" for name in found}
    assert len(left(suite, store).seconds) == 6


def test_an_old_source_is_no_failure(suite, store, runs):
    runs["erm", 0].source_digest = "of another day"
    write_run(store, runs["erm", 0], [1.0], "error", now=NOW)
    found = states(suite, store)["erm", 0]
    assert (found.state, found.why) == ("waiting", "stale: its source changed since")


def test_time_left_by_hand(suite, store, runs):
    evals = {"clean": 4.0, "digits-fgsm": 6.0}
    write_run(store, runs["erm", 0], [2.0] * 10, "ok", seconds=25.0, evaluators=evals, now=NOW)  # 2.5 s an epoch
    write_run(store, runs["mixup", 0], [7.0] * 9 + [70.0], "ok", seconds=1.0, evaluators=evals, now=NOW)  # 7, continued
    write_run(store, runs["mixup", 1], [7.0] * 4, None, quiet=5, now=NOW)
    found = left(suite, store)
    # The evaluators' own records are not of today's code, so finished runs are to be evaluated again.
    expected = [10.0, 10.0, 10 * 2.5 + 10, 10 * 2.5 + 10, 6 * 7 + 10, 10 * 7 + 10]
    assert sorted(found.seconds) == sorted(expected)
    assert (found.unknown, found.guessed, found.unmeasured) == (0, 0, set())
    assert found.machine == "Abacus, 1 thread(s)"
    assert found.with_workers(1) == sum(expected)
    assert found.with_workers(6) == 80.0


def test_a_run_that_goes_on_from_its_checkpoint_has_only_the_rest_left(suite, store, runs):
    folder = write_run(store, runs["erm", 0], [3.0] * 4, "interrupted", seconds=12.0, now=NOW)
    (folder / CHECKPOINT_FILE).write_bytes(b"x")
    assert sorted(left(suite, store).seconds) == [18.0, 30.0, 30.0, 30.0, 30.0, 30.0]


def test_a_method_that_was_not_timed_takes_the_median_of_its_cell(suite, store, runs):
    write_run(store, runs["erm", 0], [3.0] * 10, "ok", seconds=30.0, now=NOW)
    found = left(suite, store)
    assert found.guessed == 3
    assert sorted(found.seconds) == [0.0, 30.0, 30.0, 30.0, 30.0, 30.0]
    assert found.unmeasured == {"clean", "digits-fgsm"}


def test_speeds_of_another_machine_do_not_count(suite, store, runs):
    write_run(store, runs["erm", 0], [3.0] * 10, "ok", seconds=30.0, now=NOW)
    write_run(store, runs["erm", 1], [1.0], None, provenance=MACHINE | {"gpu": "Big One"}, quiet=1, now=NOW)
    found = left(suite, store)
    assert found.machine == "Big One"
    assert sorted(found.seconds) == [0.0, 9.0, 10.0, 10.0, 10.0, 10.0]
    assert found.guessed == 3


def test_nothing_is_known_before_the_first_epoch(suite, store, runs):
    write_run(store, runs["erm", 1], [], None, quiet=1, provenance={}, now=NOW)
    found = left(suite, store)
    assert (found.unknown, found.seconds) == (6, [])


def command(store, *arguments):
    given = [word for setting in SETTINGS for word in ("--set", setting)]
    return main(["status", "quickstart", "--results", str(store.root.parent), *given, *arguments])


def test_the_command_names_states_and_time(suite, store, runs, capsys):
    write_run(store, runs["erm", 0], [2.0] * 10, "ok", seconds=20.0, evaluators={"clean": 4.0})
    write_run(store, runs["erm", 1], [2.0] * 3, None)
    write_run(store, runs["mixup", 0], [2.0] * 3, "oom", reason="out of memory")
    assert command(store) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "quickstart: 6 runs; 2 running, 1 failed, 3 waiting"
    # 7 + 4 x 10 epochs of 2 s, and six times 4 s of the evaluator `clean`
    assert re.match(r"  left: 1 min 58 s of work at the speeds recorded on Abacus, 1 thread\(s\); ", lines[1])
    assert lines[2] == "  not counted: evaluators never timed: digits-fgsm"
    assert [line.split()[0] for line in lines[3:]] == ["running", "running", "failed", "waiting", "waiting", "waiting"]
    assert any("mixup seed 0" in line and line.endswith("oom: out of memory") for line in lines)


def test_the_command_as_json(store, runs, capsys):
    write_run(store, runs["erm", 1], [2.0] * 3, None)
    assert command(store, "--json") == 3
    rows = json.loads(capsys.readouterr().out)
    assert [(row["state"], row["epochs_done"]) for row in rows if row["seed"] == 1] == [("running", 3), ("waiting", 0)]


def test_watching_prints_a_line_for_each_change_and_ends_when_all_is_done(store, runs, capsys, monkeypatch):
    steps = iter([lambda: None, lambda: [finish(item) for item in runs.values()]])
    monkeypatch.setattr("time.sleep", lambda _: next(steps)())
    monkeypatch.setattr("bench.sweep.todo.evaluations_todo", lambda *_: [])

    def finish(item):
        write_run(store, item, [1.0] * 10, "ok", seconds=10.0)

    assert command(store, "--watch", "0.5") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[20:] for line in lines] == ["quickstart: 6 runs; 6 waiting  not counted: 6 run(s) of a cell that has "
                                             "no epoch on record", "quickstart: 6 runs; 6 done"]  # fmt: skip


def test_ctrl_c_ends_watching_with_the_code_of_what_was_seen(store, runs, capsys, monkeypatch):
    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", stop)
    assert command(store, "--watch") == 3
    assert "6 waiting" in capsys.readouterr().out


@pytest.mark.parametrize("given", ["0", "-1", "soon", "nan", "inf"])
def test_bad_periods(store, given, capsys):
    with pytest.raises(SystemExit) as ended:
        command(store, f"--watch={given}")
    assert ended.value.code == 2
    assert "--watch" in capsys.readouterr().err
