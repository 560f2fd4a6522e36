"""What values the executors' settings may have. Each check gives the value, or BadInput with the place in front."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, cast

import yaml

from bench.errors import BadInput, nearest

SBATCH = "sbatch."
OWN_OPTIONS = {"partition": "partition", "time": "time", "gpus-per-node": "gpus", "mem": "memory",
               "cpus-per-task": "cpus"}  # fmt: skip
"""Options of sbatch that have a setting of their own."""
KEPT_OPTIONS = ("array", "error", "job-name", "open-mode", "output", "requeue", "no-requeue", "signal", "wrap")
"""Options of sbatch without which the executor does not work."""
CLUSTERS = ("slurm", "local")


def value_of(text: str, kind: str, where: str) -> Any:
    """A text, or a number from 0, as the type's name says."""
    if kind.startswith("str"):
        if not text:
            raise BadInput(f"{where}: must not be empty")
        return text
    try:
        value = cast("object", yaml.safe_load(text))
    except yaml.YAMLError:
        value = None
    whole = isinstance(value, int) and not isinstance(value, bool)
    if kind.startswith("int"):
        if not whole or cast("int", value) < 0:
            raise BadInput(f"{where}: must be a whole number from 0")
    elif not (whole or isinstance(value, float)) or not 0 <= cast("float", value) < math.inf:
        raise BadInput(f"{where}: must be a number from 0")
    return value


def _lease_seconds(text: str, where: str) -> float:
    value = value_of(text, "float", where)
    if value < 1:
        raise BadInput(f"{where}: must be at least 1")
    return value


def _from_one(text: str, where: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise BadInput(f"{where}: must be a whole number from 1")
    return int(text)


def _minutes(text: str, where: str) -> int:
    """Minutes of a time as SLURM writes it, rounded up."""
    found = re.fullmatch(r"(?:(?:(\d+)-)?(\d{1,2}):(\d\d):(\d\d))|(\d+)", text)
    if found is None:
        raise BadInput(f"{where}: must be minutes, HH:MM:SS or DAYS-HH:MM:SS")
    days, hours, minutes, seconds, alone = (int(part or 0) for part in found.groups())
    total = alone + 1440 * days + 60 * hours + minutes + (seconds > 0)
    if not total:
        raise BadInput(f"{where}: must be at least a minute")
    return total


def _memory(text: str, where: str) -> str:
    if not re.fullmatch(r"[1-9]\d*[KMGT]B?", text):
        raise BadInput(f"{where}: must be a whole number with its unit, such as 16GB")
    return text


def _cluster(text: str, where: str) -> str:
    if text not in CLUSTERS:
        raise BadInput(f"{where}: there is no such kind; {nearest(text, CLUSTERS)}")
    return text


def sbatch_option(name: str, where: str) -> str:
    """The name of an option of sbatch that may be given."""
    if name in OWN_OPTIONS:
        raise BadInput(f"{where}: give --executor-set {OWN_OPTIONS[name]}=...")
    if name in KEPT_OPTIONS:
        raise BadInput(f"{where}: this option of sbatch is set by the executor")
    if not re.fullmatch(r"[a-z][a-z0-9-]+", name):
        raise BadInput(
            f"{where}: must be sbatch.NAME=VALUE with a long option of sbatch, such as sbatch.account=vision"
        )
    return name


CHECKS: dict[str, Callable[[str, str], Any]] = {
    "lease_seconds": _lease_seconds, "time": _minutes, "cpus": _from_one, "parallel": _from_one, "memory": _memory,
    "cluster": _cluster,
}  # fmt: skip
