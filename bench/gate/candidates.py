"""The table rows that suites plan, with the runs of them that the current code has made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from bench.config.suite import Suite
from bench.env import package_versions
from bench.records import RunRecord, Store, read_record
from bench.records.reader import damaged_since_begin
from bench.spec import Labels, Spec
from bench.sweep.todo import Todo, find_todo


@dataclass(frozen=True)
class NewRun:
    """A planned run. record: None where it does not count as new. why: the reason then.

    unfinished: evaluators of the suite that have no complete and current record of it.
    """

    seed: int
    record: RunRecord | None
    why: str
    unfinished: frozenset[str]


@dataclass
class Candidate:
    """A table row as it is planned now. spec: canonical, without the seed. evals: the evaluators that suites plan for
    it. runs: in the order of the planned seeds."""

    labels: Labels
    arm: str
    cell: str
    spec: dict[str, Any]
    source_digest: str
    reference: str | None
    evals: set[str] = field(default_factory=set[str])
    runs: list[NewRun] = field(default_factory=list[NewRun])

    @property
    def skipped(self) -> bool:
        """Whether the method refuses this network or data."""
        return all(run.why.startswith("skipped") for run in self.runs)


def find_candidates(suites: Sequence[Suite], store: Store, recorded: bool = False) -> list[Candidate]:
    """The rows of all suites, each once, in order. A run counts as new only where `why_not_new` finds nothing.

    recorded: a finished run counts whatever code and packages made it and its evaluations.
    """
    found: dict[str, Candidate] = {}
    for suite in suites:
        items = find_todo(suite, store)
        bases = {item.spec.cell: item.spec.arm for item in items if item.spec.labels.method == suite.file.base}
        for item in items:
            spec = item.spec
            row = found.setdefault(
                spec.arm,
                Candidate(spec.labels, spec.arm, spec.cell, arm_spec(spec), item.source_digest, bases.get(spec.cell)),
            )
            row.evals.update(suite.evals)
            _add(row.runs, _as_recorded(item, suite.evals) if recorded else _as_new(item))
    return list(found.values())


def _as_new(item: Todo) -> NewRun:
    why = why_not_new(item)
    unfinished = frozenset(str(each["arm"]["name"]) for each in item.evals)
    return NewRun(item.spec.seed, None if why else item.record, why, unfinished)


def _as_recorded(item: Todo, evals: Iterable[str]) -> NewRun:
    record = item.record
    why = "no record" if record is None else _ending(record)
    complete = {name for name in evals if record is not None and _evaluated(record, name)}
    return NewRun(item.spec.seed, None if why else record, why, frozenset(evals) - complete)


def _evaluated(record: RunRecord, name: str) -> bool:
    file = record.evaluation_file(name)
    lines = read_record(file).lines if file is not None else []
    ended = bool(lines) and lines[-1]["kind"] == "end" and lines[-1].get("status") == "ok"
    return file is not None and ended and not damaged_since_begin(file)


def _add(runs: list[NewRun], run: NewRun) -> None:
    for place, other in enumerate(runs):
        if other.seed == run.seed:
            runs[place] = replace(other, unfinished=other.unfinished | run.unfinished)
            return
    runs.append(run)


def why_not_new(item: Todo) -> str:
    """Empty for a run that shows what the current code does: it ended ok, its source digest is that of the current
    files and its packages are the installed ones. Else the reason."""
    record = item.record
    if record is None:
        return "no record"
    if record.source_digest != item.source_digest:
        return "only records of other source code"
    return _ending(record) or packages_differ(record.provenance)


def _ending(record: RunRecord) -> str:
    """How a run ended that did not end ok; empty for one that did."""
    if record.status == "ok":
        return ""
    return f"{record.status}: {' '.join(record.reason.split())}" if record.reason else record.status


def packages_differ(provenance: dict[str, Any]) -> str:
    """Which package versions of a record are not the installed ones, in words; empty where none. Builds may differ."""
    recorded = cast("dict[str, Any]", provenance.get("packages") or {})
    changed = [
        f"{name} {_public(recorded.get(name))}, here {_public(version)}"
        for name, version in package_versions().items()
        if name != "mixbench" and _public(recorded.get(name)) != _public(version)
    ]
    return f"made with other packages ({'; '.join(changed)})" if changed else ""


def arm_spec(spec: Spec) -> dict[str, Any]:
    """What `Spec.arm` is a digest of."""
    plain = spec.canonical()
    del plain["seed"]
    return plain


def differing_settings(before: dict[str, Any], now: dict[str, Any]) -> str:
    """The settings in which two arms differ, such as "protocol.precision fp32 -> bf16"."""
    old, new = dict(_flat(before)), dict(_flat(now))
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    shown = [f"{key} {old.get(key, 'not set')} -> {new.get(key, 'not set')}" for key in keys[:4]]
    return "; ".join(shown) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")


def _flat(value: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in cast("dict[str, Any]", value).items():
            yield from _flat(item, f"{path}.{key}" if path else key)
    else:
        yield path, value


def _public(version: Any) -> str:
    """A version without its local part: builds of one release for other hardware are one release."""
    return str(version).split("+")[0]
