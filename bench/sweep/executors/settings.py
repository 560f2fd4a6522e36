"""Settings of the executors, read from `--executor-set KEY=VALUE`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import yaml

from bench.errors import BadInput, nearest
from bench.records.lease import LEASE_SECONDS


@dataclass(frozen=True)
class ExecutorSettings:
    """lease_seconds: how long the lease of a run counts without renewal, at least 1."""

    lease_seconds: float = LEASE_SECONDS


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


KINDS: dict[str, type[ExecutorSettings]] = {"local": LocalSettings, "ray": RaySettings}


def read_settings(executor: str, assignments: Sequence[str]) -> ExecutorSettings:
    """The settings of an executor. BadInput for an unknown key, or a value of a wrong type or size."""
    kind = KINDS[executor]
    known = {each.name: str(each.type) for each in dataclasses.fields(kind)}
    given: dict[str, Any] = {}
    for assignment in assignments:
        where = f"--executor-set {assignment}"
        key, equals, text = assignment.partition("=")
        if not equals:
            raise BadInput(f"{where}: must be KEY=VALUE")
        if key not in known:
            raise BadInput(f"{where}: {executor} has no setting '{key}'; {nearest(key, known)}")
        given[key] = _value(text, known[key], where)
    return kind(**given)


def _value(text: str, kind: str, where: str) -> Any:
    if kind.startswith("str"):
        return text
    try:
        value = cast("object", yaml.safe_load(text))
    except yaml.YAMLError:
        value = None
    whole = isinstance(value, int) and not isinstance(value, bool)
    if kind.startswith("int"):
        if not whole or cast("int", value) < 0:
            raise BadInput(f"{where}: must be a whole number from 0")
    elif not (whole or isinstance(value, float)) or cast("float", value) < 0:
        raise BadInput(f"{where}: must be a number from 0")
    if "lease_seconds" in where and cast("float", value) < 1:
        raise BadInput(f"{where}: must be at least 1")
    return value
