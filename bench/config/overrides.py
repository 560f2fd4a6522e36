"""`--set key=value`: the last layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bench.config.yaml_file import parse_scalar
from bench.errors import BadInput, nearest

AXES = ("data", "backbone", "protocol", "methods", "seeds", "evals")
SECTIONS = ("data", "backbone", "protocol", "method")


@dataclass(frozen=True)
class Overrides:
    """axes: what replaces a suite's axis. keys: section -> key -> value. source: how messages call this layer."""

    source: str
    axes: dict[str, Any] = field(default_factory=dict[str, Any])
    keys: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])


def parse_overrides(assignments: dict[str, Any], source: str) -> Overrides:
    """Sort `backbone=NAME` (an axis) from `protocol.epochs=3` (a key of a section)."""
    axes: dict[str, Any] = {}
    keys: dict[str, dict[str, Any]] = {}
    for name, value in assignments.items():
        section, dot, key = name.partition(".")
        axis = {"method": "methods", "seed": "seeds", "eval": "evals"}.get(section, section)
        if not dot and axis in AXES:
            axes[axis] = value
        elif dot and section in SECTIONS and key:
            keys.setdefault(section, {})[key] = value
        else:
            valid = [*AXES, *(f"{word}.KEY" for word in SECTIONS)]
            raise BadInput(f"{source}: unknown key '{name}'; {nearest(name, valid)}")
    return Overrides(source, axes, keys)


def parse_set_options(options: list[str]) -> Overrides:
    """The `--set` options of a command line."""
    assignments: dict[str, Any] = {}
    for option in options:
        name, equals, text = option.partition("=")
        if not equals or not name.strip():
            raise BadInput(f"--set {option}: write it as key=value, such as --set protocol.epochs=3")
        assignments[name.strip()] = parse_scalar(text)
    return parse_overrides(assignments, "--set")
