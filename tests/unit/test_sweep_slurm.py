"""The slurm executor with a queue of the test's own, its commands replaced, and settings."""

from __future__ import annotations

import errno
import pickle
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.errors import BadInput
from bench.records import RecordWriter, StorageError, Store
from bench.run.claim import attempts_of
from bench.sweep.devices import Workers, limits
from bench.sweep.executors import slurm as executor_module
from bench.sweep.executors.settings import SlurmSettings, read_settings
from bench.sweep.executors.slurm import SlurmExecutor
from bench.sweep.executors.slurm_job import going_on
from bench.sweep.executors.slurm_queue import Refused, SlurmQueue

pytest.importorskip("submitit", reason="the extra slurm is not installed")

RUN = "0123456789abcdef"
WORKERS = Workers([limits(1)], "cpu", 1, "cpu")


def test_settings_of_jobs():
    given = ["partition=gpu", "time=1-02:30:01", "memory=16GB", "gpus=0", "sbatch.account=vision", "sbatch.qos=low"]
    found = read_settings("slurm", [*given, "parallel=8"])
    expected = SlurmSettings(partition="gpu", time=1591, memory="16GB", gpus=0, parallel=8)
    assert found == SlurmSettings(**{**vars(expected), "sbatch": (("account", "vision"), ("qos", "low"))})
    assert read_settings("slurm", ["time=90"]) == SlurmSettings(time=90)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("time=4h", "must be minutes, HH:MM:SS or DAYS-HH:MM:SS"),
        ("time=0", "at least a minute"),
        ("memory=lots", "such as 16GB"),
        ("memory=0GB", "such as 16GB"),
        ("parallel=0", "whole number from 1"),
        ("cpus=1.5", "whole number from 1"),
        ("gpus=-1", "whole number from 0"),
        ("partition=", "must not be empty"),
        ("partion=gpu", "did you mean 'partition'"),
        ("cluster=slrum", "did you mean 'slurm'"),
        ("sbatch.time=5", "give --executor-set time="),
        ("sbatch.array=0-5", "set by the executor"),
        ("sbatch.-A=me", "with a long option of sbatch"),
    ],
)
def test_wrong_settings_are_one_line(assignment, message):
    with pytest.raises(BadInput, match=message) as caught:
        read_settings("slurm", [assignment])
    assert str(caught.value).startswith(f"--executor-set {assignment}: ")
    assert "\n" not in str(caught.value)


def test_where_there_is_no_slurm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match="there is no sbatch here"):
        SlurmExecutor(SlurmSettings(), WORKERS, tmp_path, None)


class Commands:
    """Programs of SLURM that print what a test says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("srun", "scancel"):
            self.print(name, "")

    def print(self, name: str, text: str, code: int = 0, error: str = "") -> None:
        path = self.folder / name
        (self.folder / f"{name}.text").write_text(text)
        path.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$*" >> {path}.calls\n/bin/cat {path}.text\necho "{error}" >&2\nexit {code}\n'
        )
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def calls(self, name: str) -> list[str]:
        return (self.folder / f"{name}.calls").read_text().splitlines()


@pytest.fixture
def commands(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return Commands(folder)


def jobs(*ids: str) -> list[SimpleNamespace]:
    return [SimpleNamespace(job_id=each) for each in ids]


def test_states_come_from_the_queue_then_from_accounting(commands, tmp_path):
    commands.print("sbatch", "")
    queue = SlurmQueue(SlurmSettings(), tmp_path / "jobs", 1, 0)
    commands.print("squeue", "7_0|RUNNING\n7_1|PENDING\n9|NODE_FAIL\n")
    commands.print("sacct", "7_2|CANCELLED by 0\n7_3|COMPLETED\n")
    wanted = jobs("7_0", "7_1", "7_2", "7_3", "7_4", "9")
    found = {"7_0": "RUNNING", "7_1": "PENDING", "7_2": "CANCELLED", "7_3": "COMPLETED", "7_4": "GONE",
             "9": "NODE_FAIL"}  # fmt: skip
    assert queue.states(wanted) == found
    assert commands.calls("sacct") == ["-n -X -P -o JobID,State -j 7_2,7_3,7_4"]
    commands.print("sacct", "", code=1, error="accounting storage is disabled")
    assert queue.states(wanted) == found | {"7_2": "GONE", "7_3": "GONE"}
    commands.print("squeue", "", code=1, error="Unable to contact slurm controller")
    assert queue.states(wanted) is None
    queue.cancel(wanted)
    assert commands.calls("scancel") == ["7_0 7_1 7_2 7_3 7_4 9"]


def test_what_sbatch_is_asked_for_and_why_it_refuses(commands, tmp_path):
    commands.print("sbatch", "Submitted batch job 41\n")
    settings = SlurmSettings(partition="gpu", time=90, memory="16GB", parallel=3, sbatch=(("account", "vision"),))
    queue = SlurmQueue(settings, tmp_path / "jobs", 4, 2)
    ids = [job.job_id for job in queue.submit([lambda: 1, lambda: 2])]  # type: ignore[list-item]
    assert ids == ["41_0", "41_1"]
    (script,) = (tmp_path / "jobs").glob("41_submission.sh")
    asked = {line.removeprefix("#SBATCH ") for line in script.read_text().splitlines() if line.startswith("#SBATCH")}
    assert asked >= {
        "--partition=gpu", "--time=90", "--mem=16GB", "--array=0-1%2", "--account=vision", "--cpus-per-task=4",
        "--gpus-per-node=2", "--requeue", "--signal=USR2@90", "--open-mode=append",
    }  # fmt: skip
    assert not any("wckey" in line for line in asked)
    commands.print("sbatch", "", code=1, error="sbatch: error: invalid partition specified: gpu")
    with pytest.raises(Refused, match=r"^sbatch: error: invalid partition specified: gpu$"):
        queue.submit([lambda: 1])  # type: ignore[list-item]


class Plays:
    """A queue that plays what a test says. Each job's part is a result, or the states that it is seen in."""

    result_seconds = 0.0
    state_seconds = 0.0

    def __init__(self, folder: Path, parts: list[object], room: int = 10) -> None:
        self.folder, self.parts, self.most = folder, list(parts), room
        self.submitted: list[str] = []
        self.cancelled: list[str] = []
        self.looks = 0
        self.waiting: dict[str, list[str]] = {}

    def room(self, running: int) -> int:
        return self.most - running

    def submit(self, runs):
        return [self._job(run) for run in runs]

    def _job(self, run):
        number = str(len(self.submitted))
        self.submitted.append(run.task["name"])
        part = self.parts.pop(0)
        if isinstance(part, Refused | OSError):
            raise part
        paths = SimpleNamespace(
            result_pickle=self.folder / f"{number}_result.pkl", stdout=self.folder / f"{number}.out",
            submitted_pickle=self.folder / f"{number}_submitted.pkl",
        )  # fmt: skip
        self.waiting[number] = part if isinstance(part, list) else []
        if not isinstance(part, list):
            paths.stdout.write_text("begun\n")
            paths.result_pickle.write_bytes(pickle.dumps(part))
        return SimpleNamespace(job_id=number, paths=paths)

    def states(self, jobs):
        def state(job) -> str:
            if job.job_id in self.cancelled:
                return "CANCELLED"
            left = self.waiting[job.job_id]
            return left.pop(0) if len(left) > 1 else left[0] if left else "COMPLETED"

        self.looks += 1
        return {job.job_id: state(job) for job in jobs}

    def cancel(self, jobs):
        self.cancelled += [job.job_id for job in jobs]


OK = ("success", {"status": "ok", "reason": None, "seconds": 1.0})


@pytest.fixture
def play(tmp_path, monkeypatch):
    """Gives the events of tasks a, b, ... as (kind, task, fields), and the queue."""
    monkeypatch.setattr(executor_module, "LOOK_SECONDS", 0.0)

    def run(*parts: object, tasks: str = "a", room: int = 10, **settings):
        found = SlurmExecutor(SlurmSettings(cluster="local", **settings), WORKERS, tmp_path / "logs", None)
        queue = Plays(found._folder, list(parts), room)
        found._queue = queue
        told = found.run([{"name": name, "folder": str(tmp_path / name)} for name in tasks])
        return told, queue

    return run


def done(told) -> list[tuple[str, str, str | None]]:
    return [(e.task["name"], e.fields["status"], e.fields["reason"]) for e in told if e.kind == "done"]


@pytest.mark.parametrize("state", ["NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "GONE", "FAILED", "COMPLETED"])
def test_a_lost_job_is_submitted_again(play, state):
    told, queue = play(["PENDING", "RUNNING", state], OK)
    events = list(told)
    lines = [event.fields["line"] for event in events if event.kind == "waiting"]
    assert lines[1] == f"job 0 of a ended without a result ({state}); it is submitted again"
    assert done(events) == [("a", "ok", None)]
    assert queue.submitted == ["a", "a"]


def test_a_run_whose_jobs_are_lost_again_and_again_is_given_up(play):
    told, queue = play(*[["NODE_FAIL"]] * 3, OK, tasks="ab", room=1, retries=1)
    assert done(told) == [("a", "error", "job 2 of a ended without a result (NODE_FAIL)"), ("b", "ok", None)]
    assert queue.submitted == ["a", "b", "a", "b"]


@pytest.mark.parametrize(
    ("state", "status", "reason"),
    [
        ("CANCELLED", "interrupted", "job 0 was cancelled"),
        ("TIMEOUT", "timeout", "job 0 ran out of time (240 min)"),
        ("DEADLINE", "timeout", "job 0 ran out of time (240 min)"),
        ("OUT_OF_MEMORY", "oom", "job 0 used more memory than it had asked for (8GB)"),
    ],
)
def test_ends_that_say_something_about_the_run_are_its_ends(play, state, status, reason):
    told, queue = play(["RUNNING", state], memory="8GB")
    assert done(told) == [("a", status, reason)]
    assert queue.submitted == ["a"]


def test_an_end_counts_once_it_has_lasted_for_as_long_as_a_result_may_take(play, monkeypatch):
    told, queue = play(["RUNNING", "PREEMPTED", *["RUNNING"] * 5, "NODE_FAIL", "PENDING", "CANCELLED"])
    queue.result_seconds = 3
    clock = SimpleNamespace(monotonic=lambda: queue.looks, sleep=lambda seconds: None)
    monkeypatch.setattr(executor_module, "time", clock)
    assert done(told) == [("a", "interrupted", "job 0 was cancelled")]
    assert queue.submitted == ["a"]
    assert queue.looks == 13


def test_what_failed_inside_a_job_is_told(play):
    too_often = (
        "Traceback\nsubmitit.core.utils.UncompletedJobError: Job not requeued because: timed-out too many times.\n"
    )
    told, _ = play(("error", "Traceback ...\nModuleNotFoundError: no bench\n"), ("error", too_often), OK, tasks="abc")
    assert done(told) == [
        ("a", "error", "job 0: ModuleNotFoundError: no bench"),
        ("b", "timeout", "job 1 ran out of time too often (240 min, requeues=20)"),
        ("c", "ok", None),
    ]


def test_no_more_jobs_than_there_is_room_for(play):
    told, queue = play(["RUNNING", "RUNNING", "CANCELLED"], ["RUNNING", "CANCELLED"], OK, tasks="abc", room=2)
    ended = 0
    for event in told:
        ended += event.kind == "done"
        assert len(queue.submitted) - ended <= 2
    assert queue.submitted == ["a", "b", "c"]


def test_a_queue_that_takes_nothing_is_bad_input_and_later_an_error_of_the_run(play):
    told, _ = play(Refused("sbatch: error: invalid partition"))
    with pytest.raises(BadInput, match=r"^--executor slurm: sbatch: error: invalid partition$"):
        list(told)
    told, _ = play(["NODE_FAIL"], Refused("sbatch: error: the controller is away"))
    assert done(told) == [("a", "error", "sbatch: error: the controller is away")]


def test_a_full_disk_is_said_to_be_full(play):
    told, queue = play(["RUNNING"], OSError(errno.ENOSPC, "No space left on device"), tasks="ab", room=1)
    queue.room = lambda running: 1
    with pytest.raises(StorageError, match="No space left on device") as caught:
        list(told)
    assert caught.value.full
    assert queue.cancelled == ["0"]


def test_closing_cancels_what_is_under_way_and_takes_the_mark_away(play, tmp_path):
    told, queue = play(OK, ["RUNNING"], ["PENDING"], tasks="abc")
    for event in told:
        if event.kind == "done":
            break
    assert list((tmp_path / "logs").glob("shared-*"))
    told.close()
    assert queue.cancelled == ["1", "2"]
    assert not list((tmp_path / "logs").glob("shared-*"))


def test_a_cancelled_job_that_puts_itself_back_is_cancelled_again(play):
    told, queue = play(["RUNNING", "PENDING"])
    next(told)
    cancelled: list[str] = []
    queue.cancel = lambda jobs: (
        cancelled.extend(job.job_id for job in jobs),
        len(cancelled) > 1 and queue.cancelled.append("0"),
    )
    told.close()
    assert cancelled == ["0", "0"]


def test_logs_are_kept_where_something_went_wrong(play, tmp_path):
    told, queue = play(OK, ["CANCELLED"], tasks="ab")
    list(told)
    assert (queue.folder / "0.out").is_file()
    assert not list(queue.folder.glob("*.pkl"))
    told, queue = play(OK, OK, tasks="ab")
    list(told)
    assert not queue.folder.exists()


def test_progress_is_what_the_records_say(play, tmp_path):
    told, queue = play(["RUNNING", "RUNNING", "RUNNING", "CANCELLED"])
    units = []
    for event in told:
        if event.kind == "waiting":
            (tmp_path / "a").mkdir()
            (queue.folder / "0.out").touch()
        if event.kind == "start":
            with RecordWriter(tmp_path / "a" / "train.jsonl") as record:
                record.append("begin", spec={})
                record.append("epoch", epoch=1)
                record.append("epoch", epoch=2)
            with RecordWriter(tmp_path / "a" / "eval-clean-1.jsonl") as record:
                record.append("begin", eval="clean")
                record.append("end", status="ok")
        if event.kind == "progress":
            units.append(event.fields["units"])
    assert units == [3]


@pytest.fixture
def begun(tmp_path):
    """A task as it was planned for a new run, and what its job then writes."""
    store = Store(tmp_path / "records")
    folder = store.new_attempt(RUN)
    task = {
        "name": RUN, "folder": str(folder), "train": True,
        "lease": {"folder": str(tmp_path / "leases"), "seconds": 9, "seen": attempts_of(store, RUN), "expired": None,
                  "copy": None},
    }  # fmt: skip

    def write(kind: str, **fields) -> None:
        with RecordWriter(folder / "train.jsonl") as record:
            record.append(kind, **fields)

    return task, write, store


def begin(write) -> None:
    write("begin", schema=1, run_id=RUN, spec={"protocol": {"epochs": 1}}, labels={}, provenance={}, source_digest="s",
          planned=[0], epoch=0, time=0.0)  # fmt: skip


def test_a_job_that_goes_on_is_not_put_off_by_its_own_traces(begun):
    task, write, store = begun
    assert going_on(task) == task
    begin(write)
    again = going_on(task)
    assert again["train"]
    assert again["lease"]["seen"] == attempts_of(store, RUN) != task["lease"]["seen"]
    write("epoch", epoch=1)
    write("end", status="ok", reason=None, seconds=1.0)
    after = going_on(task)
    assert not after["train"]  # trained; what is left is to evaluate
    assert after["lease"]["seen"] == attempts_of(store, RUN)


def test_traces_of_others_are_left_for_the_worker_to_see(begun):
    task, write, store = begun
    begin(write)
    other = store.new_attempt(RUN)
    with RecordWriter(other / "train.jsonl") as record:
        begin(record.append)
    assert going_on(task) == task


def test_an_ended_attempt_that_is_not_ok_is_left_for_a_new_plan(begun):
    task, write, _ = begun
    begin(write)
    write("end", status="error", reason="x", seconds=1.0)
    assert going_on(task) == task


def test_a_copied_attempt_that_has_grown_is_not_copied_again(begun, tmp_path):
    task, write, store = begun
    old = store.root / RUN / "19990101T000000.000000Z-00000000"
    old.mkdir(parents=True)
    with RecordWriter(old / "train.jsonl") as record:
        begin(record.append)
    task["lease"]["copy"] = str(old)
    task["lease"]["seen"] = attempts_of(store, RUN)
    begin(write)
    assert going_on(task)["lease"]["copy"] == str(old)
    write("resume", schema=1, run_id=RUN, spec={}, labels={}, provenance={}, source_digest="s", planned=[0], epoch=0,
          time=0.0)  # fmt: skip
    assert going_on(task)["lease"]["copy"] is None
