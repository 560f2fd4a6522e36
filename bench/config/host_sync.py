"""Settings whose step waits for the device on the host (`host_sync` in a method's YAML), and where they cannot be.

A CUDA graph is recorded without running: a step that reads a number back on the way cannot become one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from bench.config.catalogue import MethodFacts, method_facts
from bench.config.folders import ConfigFolders
from bench.config.validation import validated
from bench.config.yaml_file import YamlFile, read_yaml
from bench.errors import BadInput, nearest
from bench.spec import Scalar, Spec

KEY = "host_sync"
CUDA_GRAPH_MODES = ("reduce-overhead", "max-autotune")
"""Values of `protocol.compile` with CUDA graphs; those of `bench.train.step`, which imports torch."""
WITHOUT_GRAPHS = "default"


def parse_host_sync(given: Any, facts: MethodFacts, file: YamlFile) -> dict[str, tuple[Scalar, ...]]:
    """By parameter the values with which a step waits; BadInput where one is none that the method's code takes."""
    if not isinstance(given, dict):
        raise BadInput(f"{file.where(KEY)}: '{KEY}' must be a mapping, such as {{stopping: [official]}}")
    found: dict[str, tuple[Scalar, ...]] = {}
    for name, values in cast("dict[str, Any]", given).items():
        place = file.where(KEY, name)
        if name not in facts.parameters.model_fields:
            known = facts.parameters.model_fields
            raise BadInput(f"{place}: {KEY}: unknown parameter '{name}'; {nearest(name, known)}")
        if not isinstance(values, list) or not values:
            raise BadInput(f"{place}: {KEY}.{name}: must be a list of values")
        found[name] = tuple(_taken(name, value, facts, place) for value in cast("list[Any]", values))
    return found


def refuse_host_sync_in_graphs(spec: Spec, origins: Mapping[str, Mapping[str, str]], folders: ConfigFolders) -> None:
    """BadInput where the protocol records CUDA graphs of a method that is set to wait for the device in its step.

    origins: by section where each key comes from. The device is not asked: a run that only a CPU can do is none that
    others can repeat.
    """
    mode = spec.effective_protocol.compile
    if mode not in CUDA_GRAPH_MODES:
        return
    facts = method_facts(spec.method.implementation)
    for name, values in _declared(facts, folders).items():
        value = spec.method.parameters[name]
        if value not in values:
            continue
        asked = {kind: origins[kind].get(key, "default") for kind, key in (("method", name), ("protocol", "compile"))}
        default = facts.parameters.model_fields[name].default
        other = "" if default in values else f"method.{name}: {default} or "
        raise BadInput(
            f"method.{name}: {value} ({spec.labels.method}; {asked['method']}) waits for the device within a step, "
            f"which protocol.compile: {mode} ({asked['protocol']}) cannot record as a CUDA graph; use {other}"
            f"protocol.compile: {WITHOUT_GRAPHS}"
        )


def _declared(facts: MethodFacts, folders: ConfigFolders) -> dict[str, tuple[Scalar, ...]]:
    """What the first `method/IMPLEMENTATION.yaml` with the key says: a file that only sets parameters hides nothing."""
    for folder in folders.folders:
        path = folder / "method" / f"{facts.name}.yaml"
        if path.is_file() and KEY in (file := read_yaml(path)).values:
            return parse_host_sync(file.values[KEY], facts, file)
    return {}


def _taken(name: str, value: Any, facts: MethodFacts, place: str) -> Scalar:
    model = validated(facts.parameters, {name: value}, lambda key: place, lambda key: f"{KEY}.{key}")
    return getattr(model, name)
