"""The first line of a run: its spec against its ids, its method, its data."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pydantic import ValidationError

from bench.config.catalogue import method_facts
from bench.errors import BadInput
from bench.records import SCHEMA
from bench.sources import method_source_digest
from bench.spec import Spec
from bench.verify.lines import Line, RecordFile, whole
from bench.verify.problem import Problem


def read_spec(file: RecordFile, line: Line) -> tuple[Spec | None, list[Problem]]:
    """The spec of a `begin` or `resume` line, and what is wrong with schema, spec, id and labels."""
    if whole(line.fields.get("schema")) != SCHEMA:
        return None, [file.problem(line, f"record schema {line.fields.get('schema')!r}; this version reads {SCHEMA}")]
    try:
        spec = Spec.model_validate_json(json.dumps(line.inside("spec")))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "spec"
        return None, [
            file.problem(line, f"the spec is not valid: {place}: {first['msg']} ({error.error_count()} in all)")
        ]
    if spec.data.digest is None:
        return None, [file.problem(line, "the spec has no data.digest, so nobody can tell which images it is about")]
    problems: list[Problem] = []
    if spec.run_id != line.fields.get("run_id"):
        problems.append(
            file.problem(line, f"the spec gives the run id {spec.run_id}, not {line.fields.get('run_id')!r}")
        )
    if file.name.split("/")[0] != spec.run_id:
        problems.append(file.problem(line, f"the spec gives the run id {spec.run_id}, which is not the folder's name"))
    if line.inside("labels") != spec.labels.model_dump():
        problems.append(file.problem(line, "the labels are not those of the spec"))
    strangers = {one.method for one in spec.protocol.exceptions} - {spec.method.implementation}
    if strangers:
        problems.append(file.problem(line, f"exceptions of another method ({', '.join(sorted(strangers))})"))
    planned = line.fields.get("planned")
    if not isinstance(planned, list) or spec.seed not in planned:
        problems.append(file.problem(line, "the planned seeds do not name the run's own seed"))
    return spec, [*problems, *_method_problems(file, line, spec)]


def told(file: RecordFile, line: Line, spec: Spec) -> Iterator[Problem]:
    """What is no fault: a method or a source that is not the one installed here."""
    try:
        facts = method_facts(spec.method.implementation)
    except BadInput:
        yield file.problem(line, f"the method '{spec.method.implementation}' is not installed here")
        return
    digest = line.fields.get("source_digest")
    if not spec.protocol.trained_elsewhere and digest != method_source_digest(facts.path):
        yield file.problem(line, f"was made with another version of the source (digest {digest!r})")


def _method_problems(file: RecordFile, line: Line, spec: Spec) -> Iterator[Problem]:
    """Parameters that the method here does not take, and defaults that would hide a parameter from the run id."""
    try:
        facts = method_facts(spec.method.implementation)
    except BadInput:
        if spec.method.neutral:
            yield file.problem(line, "neutral parameters of an unknown method, which could hide a setting from the id")
        return
    for name, value in spec.method.neutral.items():
        if name not in facts.neutral or facts.neutral[name] != value:
            yield file.problem(line, f"says that '{name}' = {value!r} is a neutral default, which it is not")
    try:
        facts.parameters.model_validate(spec.method.parameters)
    except ValidationError as error:
        first = error.errors()[0]
        yield file.problem(line, f"parameter {'.'.join(map(str, first['loc']))}: {first['msg']}")
