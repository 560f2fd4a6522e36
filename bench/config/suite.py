"""A suite: axes over data, backbones, protocols, methods and seeds, expanded into one spec a run."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import Field

from bench.config.catalogue import method_facts, method_names
from bench.config.compute_budget import LABEL, CostTable, read_cost
from bench.config.folders import ConfigFolders, find_suite
from bench.config.host_sync import refuse_host_sync_in_graphs
from bench.config.overrides import Overrides, parse_overrides
from bench.config.sections import Resolved, resolve_method, resolve_section
from bench.config.validation import validated
from bench.config.yaml_file import YamlFile, read_yaml
from bench.errors import BadInput, nearest
from bench.spec import Labels, MethodSpec, PositiveInt, ProtocolSpec, Section, Spec

Names = str | tuple[str, ...]


class SpeedSettings(Section):
    """Interleaved timing: every round times `steps` steps of every method, in a rotating order.

    warmup: steps of a block of warm-up, which goes on until two blocks agree. processes: sessions, each in a fresh
    process; from 5 on the intervals of the table are over processes.
    """

    rounds: Annotated[int, Field(ge=3)] = 20
    steps: PositiveInt = 4
    warmup: PositiveInt = 3
    processes: PositiveInt = 1


class EvalsFile(Section):
    """What a file in configs/evals may say: evaluators that belong together."""

    title: str
    evals: tuple[str, ...]


class SuiteFile(Section):
    """What a file in configs/suite may say."""

    title: str
    note: str = ""
    data: Names
    backbone: Names
    protocol: Names
    methods: Names
    """Arms by name, or "all" for every file in configs/method."""
    seeds: PositiveInt | tuple[Annotated[int, Field(ge=0)], ...]
    """How many seeds (0, 1, ...), or which."""
    evals: Names = ("clean",)
    """Evaluators by the names of their files in configs/eval, or groups of them in configs/evals."""
    speed: SpeedSettings | Literal["none"] = "none"
    compute: str | None = None
    """Equal compute: a cost table, by its name in configs/cost or by path; every method then trains for as many epochs
    as the protocol's epochs of the table's reference method cost."""
    base: str = "erm"
    """The arm that differences and step-time ratios are taken to."""
    set: dict[str, Any] = Field(default_factory=dict)
    """Overrides as of --set, such as `method.stage: 2`; they apply to the arms that have the key."""


@dataclass(frozen=True)
class Planned:
    """One run of a suite: its row (a spec without data digest, of any seed), and where each key came from, by section.

    All runs of a row share one spec: a suite of 100,000 runs has 5,000 of them.
    """

    row: Spec
    title: str
    origins: dict[str, dict[str, str]]
    seed: int

    @cached_property
    def spec(self) -> Spec:
        """The run's spec, without data digest."""
        return self.row if self.seed == self.row.seed else self.row.with_seed(self.seed)


@dataclass(frozen=True)
class Suite:
    """A suite ready to run."""

    name: str
    path: Path
    file: SuiteFile
    folders: ConfigFolders
    planned: list[Planned] = field(default_factory=list[Planned])

    @property
    def evals(self) -> list[str]:
        """Names of the evaluator settings in configs/eval, groups resolved."""
        return expand_evals(_as_list(self.file.evals), self.folders, "evals")


def expand_evals(names: list[str], folders: ConfigFolders, asked_in: str) -> list[str]:
    """Evaluators and groups by name to evaluators, each once, in order. BadInput names what is unknown and where."""
    found: dict[str, None] = {}
    for name in names:
        group = folders.find("evals", name)
        if group is None:
            if folders.find("eval", name) is None:
                known = folders.names("eval") + folders.names("evals")
                raise BadInput(f"{asked_in}: unknown evaluator '{name}'; {nearest(name, known)}")
            found[name] = None
            continue
        file = read_yaml(group)
        for item in validated(EvalsFile, file.values, file.where).evals:
            folders.get("eval", item, file.where("evals"))
            found[item] = None
    return list(found)


def load_suite(given: str, set_options: Overrides) -> Suite:
    """Read a suite by path or name, apply overrides and expand it. BadInput names file, line and key."""
    path, folders = find_suite(given)
    source = read_yaml(path)
    return expand_suite(path.stem, source, folders, set_options)


def expand_suite(name: str, source: YamlFile, folders: ConfigFolders, set_options: Overrides) -> Suite:
    """A suite from its file's values."""
    values = dict(source.values)
    given = values.get("set")
    if isinstance(given, dict):
        in_file = parse_overrides(cast("dict[str, Any]", given), source.where("set"))
        if in_file.axes:
            raise BadInput(f"{source.where('set')}: '{next(iter(in_file.axes))}' is an axis, write it at the top level")
    else:
        in_file = Overrides(str(source.path))
    values.update({axis: [value] if isinstance(value, str) else value for axis, value in set_options.axes.items()})

    def where(key: str) -> str:
        return "--set" if key in set_options.axes else source.where(key)

    file = validated(SuiteFile, values, where)
    layers = [in_file, set_options]
    sections = {
        kind: [resolve_section(kind, item, where(kind), folders, layers) for item in _as_list(getattr(file, kind))]
        for kind in ("data", "backbone", "protocol")
    }
    names = folders.names("method") if _as_list(file.methods) == ["all"] else _as_list(file.methods)
    for repeated in {item for item in names if names.count(item) > 1}:
        raise BadInput(f"{where('methods')}: method '{repeated}' stands twice")
    arms = [resolve_method(item, where("methods"), folders, layers) for item in names]
    _all_used(arms, set_options)
    _all_known(in_file)
    expand_evals(_as_list(file.evals), folders, where("evals"))
    cost = None if file.compute is None else read_cost(file.compute, source.path, folders, where("compute"))
    seeds = list(range(file.seeds)) if isinstance(file.seeds, int) else list(file.seeds)
    if len(set(seeds)) != len(seeds):
        raise BadInput(f"{where('seeds')}: a seed stands twice")
    planned = [
        first if seed == seeds[0] else Planned(first.row, first.title, first.origins, seed)
        for data, backbone, protocol in itertools.product(*sections.values())
        for row in [[_planned(data, backbone, protocol, arm, seeds[0], cost) for arm in arms] if seeds else []]
        for seed in seeds
        for first in row
    ]
    if not planned:
        raise BadInput(f"{source.path}: plans no run (an empty list of methods, seeds, data, backbones or protocols)")
    firsts = [item for item in planned if item.seed == seeds[0]]
    _all_different(firsts, where("methods"))
    for item in firsts:
        refuse_host_sync_in_graphs(item.spec, item.origins, folders)
    return Suite(name, source.path, file, folders, planned)


def _planned(
    data: Resolved[Any], backbone: Resolved[Any], protocol: Resolved[ProtocolSpec], arm: Resolved[MethodSpec],
    seed: int, cost: CostTable | None,
) -> Planned:  # fmt: skip
    own = tuple(e for e in protocol.spec.exceptions if e.method == arm.spec.implementation)
    settings, label = protocol.spec.model_copy(update={"exceptions": own}), protocol.name
    if cost is not None:
        timed = cost.cell(data.name, backbone.name, protocol.name, settings)
        fitted = cost.exception(timed, arm.name, arm.spec.implementation, settings)
        own = own if fitted is None else (*own, fitted)
        settings = settings.model_copy(update={"exceptions": own, "compute_budget": cost.budget(timed)})
        label = f"{protocol.name}-{LABEL}"
    spec = Spec(
        data=data.spec,
        backbone=backbone.spec,
        protocol=settings,
        method=arm.spec,
        seed=seed,
        labels=Labels(data=data.name, backbone=backbone.name, protocol=label, method=arm.name),
    )
    sections = {"data": data, "backbone": backbone, "protocol": protocol, "method": arm}
    origins = {name: section.origins for name, section in sections.items()}
    if cost is not None:
        origins["protocol"] = {**protocol.origins, **dict.fromkeys(("compute_budget", "exceptions"), str(cost.path))}
    return Planned(spec, arm.title, origins, seed)


def _all_used(arms: list[Resolved[MethodSpec]], given: Overrides) -> None:
    known = {key for arm in arms for key in arm.spec.parameters}
    for key in given.keys.get("method", {}):
        if key not in known:
            raise BadInput(f"{given.source}: no method of this suite has a parameter '{key}'; {nearest(key, known)}")


def _all_known(in_file: Overrides) -> None:
    """A suite's own settings may be for methods that `--set methods=...` left out, but must be some method's."""
    if not (wanted := in_file.keys.get("method", {})):
        return
    known = {key for name in method_names() for key in method_facts(name).parameters.model_fields}
    for key in wanted:
        if key not in known:
            raise BadInput(f"{in_file.source}: no method has a parameter '{key}'; {nearest(key, known)}")


def _all_different(planned: list[Planned], place: str) -> None:
    """planned: one run of each row."""
    seen: dict[str, Spec] = {}
    for item in planned:
        first = seen.setdefault(item.row.arm, item.row)
        if first is not item.row:
            one, two = first.labels, item.row.labels
            names = one.method if one.method == two.method else f"{one.method} and {two.method}"
            raise BadInput(f"{place}: {names}: the same experiment is planned twice ({two.data}, {two.protocol})")


def _as_list(names: Any) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
