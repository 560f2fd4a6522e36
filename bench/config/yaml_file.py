"""Read one YAML file safely, without YAML 1.1's surprises, and remember the line of every key."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bench.errors import BadInput


@dataclass(frozen=True)
class YamlFile:
    """values: the mapping in the file. lines: the line of each key, by its path."""

    path: Path
    values: dict[str, Any]
    lines: dict[tuple[str, ...], int] = field(default_factory=dict[tuple[str, ...], int])

    def where(self, *keys: str) -> str:
        """`file:line` of a key, or of its nearest ancestor, or the file alone."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.lines:
                return f"{self.path}:{self.lines[keys[:length]]}"
        return str(self.path)


class _CoreLoader(yaml.SafeLoader):
    """YAML 1.2 core scalars: 1e-3 is a number, off and no are words, 010 is ten, dates stay text."""


_CoreLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("float", r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", "-+."),
    ("null", r"^(?:null|Null|NULL|~|)$", ["n", "N", "~", ""]),
):
    _CoreLoader.add_implicit_resolver(  # pyright: ignore[reportUnknownMemberType]
        f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first)
    )


def _decimal(loader: _CoreLoader, node: yaml.ScalarNode) -> int:
    return int(str(loader.construct_scalar(node)), 10)


_CoreLoader.add_constructor("tag:yaml.org,2002:int", _decimal)


def parse_scalar(text: str) -> Any:
    """The value that `text` would have in a config file."""
    try:
        return yaml.load(text, Loader=_CoreLoader)  # a SafeLoader subclass
    except yaml.YAMLError:
        raise BadInput(f"'{text}' is not a YAML value") from None


def read_yaml(path: Path) -> YamlFile:
    """The mapping in a YAML file. BadInput when it is missing, unreadable, not a mapping, or has a key twice."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadInput(f"{path}: is not a UTF-8 text file") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
    try:
        node = yaml.compose(text, Loader=_CoreLoader)
    except RecursionError:
        raise BadInput(f"{path}: is nested too deeply") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise BadInput(f"{path}{line}: is not valid YAML ({problem})") from None
    if node is None:
        return YamlFile(path, {})
    if not isinstance(node, yaml.MappingNode):
        raise BadInput(f"{path}: must hold 'key: value' lines at its top")
    lines: dict[tuple[str, ...], int] = {}
    _collect_lines(node, (), lines, path)
    try:
        values = yaml.load(text, Loader=_CoreLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise BadInput(f"{path}{line}: {getattr(error, 'problem', None) or 'is not valid YAML'}") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: {error}") from None
    return YamlFile(path, values, lines)


def _collect_lines(
    node: yaml.MappingNode, prefix: tuple[str, ...], lines: dict[tuple[str, ...], int], path: Path
) -> None:
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
            raise BadInput(f"{path}:{line}: a key must be a plain word")
        keys = (*prefix, str(key_node.value))
        if keys in lines:
            raise BadInput(f"{path}:{line}: '{'.'.join(keys)}' stands twice (first on line {lines[keys]})")
        lines[keys] = line
        if isinstance(value_node, yaml.MappingNode):
            _collect_lines(value_node, keys, lines, path)
