"""What `mixbench tune` may change of a method: the `search` key of the method's YAML, checked against its code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict

from bench.config.catalogue import MethodFacts, method_facts
from bench.config.folders import ConfigFolders
from bench.config.validation import validated
from bench.config.yaml_file import YamlFile, read_yaml
from bench.errors import BadInput, nearest
from bench.spec import Scalar


class _Range(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    low: float
    high: float
    scale: Literal["linear", "log"] = "linear"


@dataclass(frozen=True)
class Searched:
    """One hyper-parameter: `choices`, or where there are none all from `low` to `high`, ends included.

    The ends are whole numbers where the parameter takes nothing else. log: uniform in the logarithm.
    """

    name: str
    choices: tuple[Scalar, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    @property
    def text(self) -> str:
        """For people, such as "alpha 0.1 to 4 (log)" or "cost squared_l2 | cosine"."""
        if self.choices:
            return f"{self.name} {' | '.join(str(choice) for choice in self.choices)}"
        return f"{self.name} {self.low:g} to {self.high:g}" + (" (log)" if self.log else "")


@dataclass(frozen=True)
class SearchSpace:
    """searched: in the order of the file. fixed: parameters of the space that the arm or the suite has set itself."""

    searched: tuple[Searched, ...]
    fixed: tuple[str, ...] = ()


def parse_search(given: Any, facts: MethodFacts, file: YamlFile) -> tuple[Searched, ...]:
    """The `search` mapping of a method's file; BadInput where a parameter or a value is none that the code takes."""
    if not isinstance(given, dict):
        raise BadInput(f"{file.where('search')}: 'search' must be a mapping, such as {{alpha: {{low: 0.1, high: 4}}}}")
    found: list[Searched] = []
    for name, values in cast("dict[str, Any]", given).items():
        place = file.where("search", name)
        if name not in facts.parameters.model_fields:
            known = facts.parameters.model_fields
            raise BadInput(f"{place}: search: unknown parameter '{name}'; {nearest(name, known)}")
        found.append(_searched(name, values, facts, place))
    return tuple(found)


def read_space(arm: str, implementation: str, set_elsewhere: set[str], folders: ConfigFolders) -> SearchSpace:
    """The space of an arm: its own file's, else that of `method/IMPLEMENTATION.yaml` without what the own file sets.

    set_elsewhere: parameters that the suite or --set gave a value; these are not searched either. BadInput where no
    file says anything although the method has parameters: a method must not miss its tuning by oversight.
    """
    facts = method_facts(implementation)
    own = _file(arm, folders)
    main = own if own is not None and "search" in own.values else _file(implementation, folders)
    if main is None or "search" not in main.values:
        if facts.parameters.model_fields:
            raise BadInput(
                f"{own.path if own else facts.path}: {implementation} has parameters and no file says which to search; "
                f"write 'search: {{PARAMETER: {{low: 0.1, high: 4, scale: log}}}}' into "
                f"method/{implementation}.yaml, or 'search: {{}}' for none"
            )
        return SearchSpace(())
    fixed = set_elsewhere | (set(own.values) if own is not None and own is not main else set[str]())
    space = parse_search(main.values["search"], facts, main)
    return SearchSpace(
        tuple(item for item in space if item.name not in fixed), tuple(i.name for i in space if i.name in fixed)
    )


def _file(name: str, folders: ConfigFolders) -> YamlFile | None:
    path = folders.find("method", name)
    return None if path is None else read_yaml(path)


def _searched(name: str, given: Any, facts: MethodFacts, place: str) -> Searched:
    def checked(value: Any) -> Any:
        values: Mapping[str, Any] = {name: value}
        model = validated(facts.parameters, dict(values), lambda key: place, lambda key: f"search.{key}")
        return getattr(model, name)

    if isinstance(given, list):
        choices = tuple(checked(value) for value in cast("list[Any]", given))
        if len(set(choices)) < 2:
            raise BadInput(f"{place}: search.{name}: a list needs two different values at least")
        return Searched(name, choices)
    if not isinstance(given, dict):
        raise BadInput(f"{place}: search.{name}: must be a list of values, or {{low: ..., high: ..., scale: log}}")
    ends = validated(_Range, cast("dict[str, Any]", given), lambda key: place, lambda key: f"search.{name}.{key}")
    low, high = checked(given["low"]), checked(given["high"])
    if isinstance(low, bool | str) or not ends.low < ends.high:
        raise BadInput(f"{place}: search.{name}: 'low' must be a number below 'high'; for words write a list")
    if ends.scale == "log" and ends.low <= 0:
        raise BadInput(f"{place}: search.{name}: a log scale needs 'low' above 0, not {ends.low:g}")
    return Searched(name, (), low, high, ends.scale == "log")
