"""Settings of the executors, read from `--executor-set KEY=VALUE`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import BadInput, nearest
from bench.records.lease import LEASE_SECONDS
from bench.sweep.executors.setting_values import CHECKS, SBATCH, sbatch_option, value_of


@dataclass(frozen=True)
class ExecutorSettings:
    """lease_seconds: how long the lease of a run counts without renewal, at least 1.

    processes: that share a run whose protocol has a world size above 1; 0: one for each of its ranks. restarts: of
    these processes after one of them was killed.
    """

    lease_seconds: float = LEASE_SECONDS
    processes: int = 0
    restarts: int = 3


@dataclass(frozen=True)
class LocalSettings(ExecutorSettings):
    """Processes on this machine; `--workers`, `--threads` and `--device` say the rest."""


@dataclass(frozen=True)
class RaySettings(ExecutorSettings):
    """address: of a cluster (default: RAY_ADDRESS, else one is started on this machine).

    num_cpus, num_gpus: what a run takes; a part of a GPU may be asked for, and limits its memory (default: the threads
    of a run; a GPU where the cluster has any and the device is not cpu). retries: of a run whose node was lost.
    """

    address: str | None = None
    num_cpus: float | None = None
    num_gpus: float | None = None
    retries: int = 3


@dataclass(frozen=True)
class SlurmSettings(ExecutorSettings):
    """partition, time, gpus, cpus, memory: what a run's job asks for. time: minutes, after which the run is put back in
    the queue with its checkpoint, at most `requeues` times.

    None leaves the partition and the memory to the cluster, and means the threads of a run for cpus, and one GPU
    unless the device is cpu. parallel: jobs at a time. retries: of a run whose job was lost. logs: folder of the jobs,
    which all nodes see (None: in the results). cluster: slurm, or local for processes of this machine, to try a sweep.
    sbatch: further options of sbatch, name and value.
    """

    partition: str | None = None
    time: int = 240
    gpus: int | None = None
    cpus: int | None = None
    memory: str | None = None
    parallel: int = 256
    requeues: int = 20
    retries: int = 2
    logs: str | None = None
    cluster: str = "slurm"
    sbatch: tuple[tuple[str, str], ...] = ()


KINDS: dict[str, type[ExecutorSettings]] = {"local": LocalSettings, "ray": RaySettings, "slurm": SlurmSettings}


def read_settings(executor: str, assignments: Sequence[str]) -> ExecutorSettings:
    """The settings of an executor. BadInput for an unknown key, or a value of a wrong type or size."""
    kind = KINDS[executor]
    known = {each.name: str(each.type) for each in dataclasses.fields(kind) if each.name != "sbatch"}
    given: dict[str, Any] = {}
    sbatch: list[tuple[str, str]] = []
    for assignment in assignments:
        where = f"--executor-set {assignment}"
        key, equals, text = assignment.partition("=")
        if not equals:
            raise BadInput(f"{where}: must be KEY=VALUE")
        if kind is SlurmSettings and key.startswith(SBATCH):
            sbatch.append((sbatch_option(key.removeprefix(SBATCH), where), text))
            continue
        if key not in known:
            raise BadInput(f"{where}: {executor} has no setting '{key}'; {nearest(key, known)}")
        given[key] = CHECKS[key](text, where) if key in CHECKS else value_of(text, known[key], where)
    if sbatch:
        given["sbatch"] = tuple(sbatch)
    return kind(**given)
