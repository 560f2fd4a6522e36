"""Queues that take jobs of the slurm executor: SLURM itself, or processes of this machine to try a sweep with."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from bench.errors import BadInput
from bench.sweep.executors.remote import missing_extra
from bench.sweep.executors.settings import SlurmSettings
from bench.sweep.executors.slurm_job import RunJob

ENDED = (
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "GONE", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
    "REVOKED", "TIMEOUT",
)  # fmt: skip
"""States of a job that will not run again. GONE: SLURM knows nothing of it any more."""
WARNING_SECONDS = 90
"""How long before the end of its time a job is told to save its run's state."""
ARRAY_SIZE = 1000
"""Jobs in an array at most; SLURM's own default is 1001."""
COMMAND_SECONDS = 60.0
IDS_AT_A_TIME = 500


class Refused(Exception):
    """The queue did not take jobs; the message is its one line."""


class Queue(Protocol):
    """Takes jobs, and tells how they are. A job is one of submitit's.

    result_seconds: how long after a job's end its result may take to be seen. state_seconds: between looks at states.
    """

    result_seconds: float
    state_seconds: float

    def room(self, running: int) -> int:
        """How many jobs it takes now, when so many of its jobs have not ended."""
        ...

    def submit(self, runs: list[RunJob]) -> list[Any]:
        """Hand jobs over, an array where there are several. Refused with the queue's reason."""
        ...

    def states(self, jobs: Sequence[Any]) -> dict[str, str] | None:
        """State by job id; None where the queue does not answer."""
        ...

    def cancel(self, jobs: Sequence[Any]) -> None:
        """Ask jobs to save their runs' state and end."""
        ...


class SlurmQueue:
    """sbatch, squeue, sacct and scancel. BadInput where they are missing."""

    result_seconds = 60.0  # an NFS client may show a folder as it was up to a minute ago
    state_seconds = 15.0

    def __init__(self, settings: SlurmSettings, folder: Path, cpus: int, gpus: int) -> None:
        submitit = _submitit()
        if shutil.which("sbatch") is None or shutil.which("srun") is None:
            raise BadInput("--executor slurm: there is no sbatch here; give the command on a machine of the cluster")
        self._executor: Any = submitit.SlurmExecutor(folder, max_num_timeout=settings.requeues, python=_python())
        self._executor.update_parameters(
            job_name="mixbench", partition=settings.partition, time=settings.time, cpus_per_task=cpus,
            gpus_per_node=gpus or None, mem=settings.memory, array_parallelism=settings.parallel,
            signal_delay_s=WARNING_SECONDS, stderr_to_stdout=True, wckey=None,
            srun_args=[f"--cpus-per-task={cpus}"],  # srun does not take it from sbatch any more
            additional_parameters={"requeue": True, **dict(settings.sbatch)},
        )  # fmt: skip

    def room(self, running: int) -> int:
        """A whole array, again and again."""
        return ARRAY_SIZE

    def submit(self, runs: list[RunJob]) -> list[Any]:
        """sbatch."""
        try:
            return self._executor.submit_array(runs)
        except RuntimeError as error:  # what submitit makes of an error of sbatch
            lines = [line.removeprefix("sbatch: ") for line in str(error).splitlines() if line.strip()]
            raise Refused(f"sbatch: {'; '.join(lines[:2])}") from None

    def states(self, jobs: Sequence[Any]) -> dict[str, str] | None:
        """squeue, then sacct for what has left the queue, where accounting is kept."""
        listed = _output("squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i|%T")
        if listed is None:
            return None
        known = _table(listed)
        missing = [job.job_id for job in jobs if job.job_id not in known]
        for some in _parts(missing):
            ids = ",".join(some)
            known |= _table(_output("sacct", "-n", "-X", "-P", "-o", "JobID,State", "-j", ids) or "")
        return {job.job_id: known.get(job.job_id, "GONE") for job in jobs}

    def cancel(self, jobs: Sequence[Any]) -> None:
        """scancel: SIGTERM, and SIGKILL after the cluster's KillWait."""
        for some in _parts([job.job_id for job in jobs]):
            _output("scancel", *some)


class LocalQueue:
    """Jobs are processes of this machine, `parallel` at a time."""

    result_seconds = 0.0
    state_seconds = 0.0

    def __init__(self, settings: SlurmSettings, folder: Path, cpus: int, gpus: int) -> None:
        submitit = _submitit()
        self._parallel = settings.parallel
        self._executor: Any = submitit.LocalExecutor(folder, max_num_timeout=settings.requeues, python=_python())
        self._executor.update_parameters(
            timeout_min=settings.time, signal_delay_s=min(WARNING_SECONDS, 30 * settings.time), gpus_per_node=gpus,
            stderr_to_stdout=True,
        )  # fmt: skip

    def room(self, running: int) -> int:
        """What is left of `parallel`."""
        return max(0, self._parallel - running)

    def submit(self, runs: list[RunJob]) -> list[Any]:
        """Start processes."""
        return [self._executor.submit(run) for run in runs]

    def states(self, jobs: Sequence[Any]) -> dict[str, str] | None:
        """From the processes."""
        return {job.job_id: "RUNNING" if job.state == "RUNNING" else "COMPLETED" for job in jobs}

    def cancel(self, jobs: Sequence[Any]) -> None:
        """The workers notice that their parents are gone, and save."""
        for job in jobs:
            job.cancel()


def _submitit() -> Any:
    try:
        import submitit
    except ImportError:
        raise missing_extra("slurm") from None
    return submitit


def _python() -> str:
    return f"{shlex.quote(sys.executable)} -P"


def _output(*command: str) -> str | None:
    """What a command prints; None where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _table(text: str) -> dict[str, str]:
    """Job ids and states, as in "12_3|CANCELLED by 0"."""
    rows = [line.strip().split("|") for line in text.splitlines() if "|" in line]
    return {row[0]: row[1].split()[0] for row in rows if row[1].strip()}


def _parts(ids: list[str]) -> list[list[str]]:
    return [ids[start : start + IDS_AT_A_TIME] for start in range(0, len(ids), IDS_AT_A_TIME)]
