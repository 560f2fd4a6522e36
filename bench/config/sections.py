"""One section of a spec (data, backbone, protocol, method) from its layers, with the origin of every key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic_core import PydanticUndefined

from bench.config.catalogue import MethodFacts, method_facts, method_names
from bench.config.folders import ConfigFolders
from bench.config.host_sync import KEY as HOST_SYNC
from bench.config.host_sync import parse_host_sync
from bench.config.overrides import Overrides
from bench.config.search import parse_search
from bench.config.validation import validated
from bench.config.yaml_file import YamlFile, read_yaml
from bench.errors import BadInput, nearest
from bench.spec import BackboneSpec, DataSpec, MethodSpec, ProtocolSpec, Section

S = TypeVar("S", bound=Section)
MODELS: dict[str, type[Section]] = {"data": DataSpec, "backbone": BackboneSpec, "protocol": ProtocolSpec}


@dataclass(frozen=True)
class Resolved(Generic[S]):
    """A section, its name in configs, where each of its keys comes from, and notes for people (title)."""

    name: str
    spec: S
    origins: dict[str, str]
    title: str


def resolve_section(
    kind: str, name: str, asked_in: str, folders: ConfigFolders, layers: list[Overrides]
) -> Resolved[Any]:
    """Data, backbone or protocol by name. A backbone without a file is taken as a timm model's name."""
    model = MODELS[kind]
    path = folders.find(kind, name)
    if path is None and kind == "backbone":
        file, values = None, {"name": name}
        origins = {"name": f"{asked_in} (timm model)"}
    else:
        file = read_yaml(path or folders.get(kind, name, asked_in))
        values = dict(file.values)
        origins = {key: file.where(key) for key in values}
    title = str(values.pop("title", name))
    _forbid_foreign(kind, values, origins)
    spec = _layered(model, kind, values, origins, file, asked_in, layers)
    if isinstance(spec, ProtocolSpec):
        if spec.compute_budget:
            raise BadInput(f"{origins['compute_budget']}: 'compute_budget' is written by a suite's 'compute' key")
        _check_exceptions(spec, origins.get("exceptions", asked_in))
    return Resolved(name, spec, _with_defaults(model, origins), title)


def _check_exceptions(protocol: ProtocolSpec, place: str) -> None:
    """Every exception names a method that exists and leaves a possible protocol."""
    for exception in protocol.exceptions:
        if exception.method not in method_names():
            hint = nearest(exception.method, method_names())
            raise BadInput(f"{place}: exceptions: unknown implementation '{exception.method}'; {hint}")
        changed = {**protocol.model_dump(exclude={"exceptions"}), **exception.set}
        validated(ProtocolSpec, changed, lambda key: place, lambda key: f"protocol.exceptions.{key}")


def resolve_method(name: str, asked_in: str, folders: ConfigFolders, layers: list[Overrides]) -> Resolved[MethodSpec]:
    """An arm: `configs/method/NAME.yaml`, or an installed implementation of that name with its defaults."""
    path = folders.find("method", name)
    if path is None and name in method_names():
        file, values = YamlFile(method_facts(name).path, {}), {"implementation": name}
    else:
        file = read_yaml(path or folders.get("method", name, asked_in))
        values = dict(file.values)
    origins = {key: file.where(key) for key in values}
    if not isinstance(values.get("implementation"), str):
        raise BadInput(f"{file.path}: needs 'implementation: NAME'; NAME is one of {', '.join(method_names())}")
    implementation = str(values.pop("implementation"))
    if implementation not in method_names():
        hint = nearest(implementation, method_names())
        raise BadInput(f"{file.where('implementation')}: unknown implementation '{implementation}'; {hint}")
    facts = method_facts(implementation)
    title = str(values.pop("title", facts.title))
    if "search" in values:
        parse_search(values.pop("search"), facts, file)
    if HOST_SYNC in values:
        parse_host_sync(values.pop(HOST_SYNC), facts, file)
    own = [_only_known(facts, layer) for layer in layers]
    parameters = _layered(facts.parameters, "method", values, origins, file, asked_in, own)
    spec = MethodSpec(implementation=implementation, parameters=parameters.model_dump(), neutral=facts.neutral)
    for key in ("title", "search", HOST_SYNC):
        origins.pop(key, None)
    return Resolved(name, spec, _with_defaults(facts.parameters, origins), title)


def _only_known(facts: MethodFacts, layer: Overrides) -> Overrides:
    known = {key: value for key, value in layer.keys.get("method", {}).items() if key in facts.parameters.model_fields}
    return Overrides(layer.source, {}, {"method": known})


def _forbid_foreign(kind: str, values: dict[str, Any], origins: dict[str, str]) -> None:
    for key in values:
        for other, model in MODELS.items():
            if other != kind and key not in MODELS[kind].model_fields and (key in model.model_fields or key == other):
                raise BadInput(f"{origins[key]}: '{key}' belongs to {other}, a {kind} file may only write {kind} keys")


def _layered(
    model: Any, kind: str, values: dict[str, Any], origins: dict[str, str], file: YamlFile | None, asked_in: str,
    layers: list[Overrides],
) -> Any:  # fmt: skip
    for layer in layers:
        for key, value in layer.keys.get(kind, {}).items():
            first, dot, rest = key.partition(".")
            if dot:
                inner = values.get(first, {})
                values[first] = {**(inner if isinstance(inner, dict) else {}), rest: value}
            else:
                values[first] = value
            origins[first] = layer.source
    place = str(file.path) if file else asked_in
    spec = validated(model, values, lambda key: origins.get(key, place), lambda key: f"{kind}.{key}")
    return spec


def _with_defaults(model: Any, origins: dict[str, str]) -> dict[str, str]:
    complete = dict(origins)
    for key, info in model.model_fields.items():
        if (key not in complete and info.default is not PydanticUndefined) or info.default_factory is not None:
            complete.setdefault(key, "default")
    return complete
