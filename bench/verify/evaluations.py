"""One evaluator's file: a known evaluator and version, settings against their digest, complete, possible values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

from pydantic import ValidationError

from bench.errors import BadInput
from bench.evals.registry import EvalArm, evaluator_facts
from bench.sources import file_source_digest
from bench.spec import canonical_json
from bench.verify.lines import Line, RecordFile, mapping, outside, unexpected
from bench.verify.problem import Problem
from bench.verify.training import Attempt

_CORRUPTED = ("corruption_top1", "extra_corruption_top1")
_MEAN = "corruption_top1_mean"
_SHARES = (
    "top1", "top5", "_accuracy", "_share", "_found", "_consistency", "_fpr95", "_in", "_out", "ece_15", "ece_15_floor",
    "aurc", "_coverage", "_risk", "_confidence", "intrusion", "intrusion_clean",
)  # fmt: skip
"""Endings of the names of numbers that are shares, unless they may be null."""
_REQUIRED = ("top1", "top1_mean", "top5")
"""Endings of numbers that can always be measured."""
SAME = 1e-6


def check_evaluation(file: RecordFile, attempt: Attempt) -> tuple[list[Problem], list[Problem]]:
    """Problems, and what is told: an evaluator made with other source."""
    problems = [*file.problems, *unexpected(file, ("begin", "metric", "end"))]
    begins = file.of("begin")
    if not begins or file.lines[0].kind != "begin":
        return [*problems, file.problem(file.lines[0] if file.lines else None, "the first line is no `begin`")], []
    told: list[Problem] = []
    for line in begins:
        found, others = _begin(file, line)
        problems += found
        told += others
    if len({line.fields.get("digest") for line in begins}) > 1:
        problems.append(file.problem(begins[-1], "goes on with other settings than it began with"))
    if file.lines[-1].kind != "end":
        told.append(file.problem(None, "the evaluation is not finished"))
    metrics: dict[str, Line] = {}
    for line in file.of("metric"):
        name, value = line.fields.get("name"), line.fields.get("value")
        detail = line.fields.get("detail")
        if not isinstance(name, str) or not isinstance(detail, dict):
            problems.append(file.problem(line, "a metric needs a name and a detail"))
            continue
        key = f"{name} {canonical_json(cast('dict[str, Any]', detail))}"
        if key in metrics and metrics[key].fields.get("value") != value:
            problems.append(file.problem(line, f"{key} a second time, with another value"))
        metrics[key] = line
        problems += _value(file, line, name, value)
    problems += _corruptions(file, begins[-1])
    if file.name.rsplit("/", 1)[-1].startswith("eval-clean-"):
        problems += _clean(file, attempt)
    return problems, told


def _begin(file: RecordFile, line: Line) -> tuple[list[Problem], list[Problem]]:
    texts = {name: str(line.fields.get(name)) for name in ("eval", "title", "evaluator", "version", "digest")}
    wanted = f"eval-{texts['eval']}-{texts['version']}.jsonl"
    repeated = re.escape(wanted.removesuffix(".jsonl")) + r"(\.[1-9][0-9]*)?\.jsonl"
    if not re.fullmatch(repeated, file.name.rsplit("/", 1)[-1]):
        return [file.problem(line, f"the file of this evaluation is {wanted}")], []
    try:
        facts = evaluator_facts(texts["evaluator"])
    except BadInput as error:
        return [file.problem(line, str(error))], []
    if facts.version != texts["version"]:
        return [file.problem(line, f"{facts.name} version {texts['version']}; this version has {facts.version}")], []
    try:
        settings = facts.settings.model_validate_json(canonical_json(line.inside("settings"))).model_dump()
        arm = EvalArm(texts["eval"], texts["title"], texts["evaluator"], texts["version"], settings)
        digest = arm.digest
    except ValidationError as error:
        first = error.errors()[0]
        return [file.problem(line, f"setting {'.'.join(map(str, first['loc']))}: {first['msg']}")], []
    except (BadInput, OSError) as error:
        return [], [
            file.problem(line, f"settings name files that are not here, so their digest is not checked ({error})")
        ]
    problems = []
    if digest != texts["digest"]:
        problems.append(file.problem(line, f"the settings have the digest {digest}, not {texts['digest']!r}"))
    told = []
    if line.fields.get("source_digest") != file_source_digest(facts.path):
        told.append(file.problem(line, f"was made with another version of the evaluator {facts.name}"))
    return problems, told


def _value(file: RecordFile, line: Line, name: str, value: object) -> Iterator[Problem]:
    lost = mapping(line.fields.get("nonfinite")).get("value")
    if value is None:
        if name.endswith(_REQUIRED):
            yield file.problem(line, f"{name} is {lost or 'null'}, which cannot be")
    elif outside(value, float("-inf"), float("inf")):
        yield file.problem(line, f"{name} is {value!r}, which is no number")
    elif (name.endswith(_SHARES) or name.endswith("_top1_mean")) and outside(value, 0.0, 1.0):
        yield file.problem(line, f"{name} {value!r} is outside [0, 1]")
    elif name in ("nll", "temperature") and outside(value, 0.0, float("inf")):
        yield file.problem(line, f"{name} {value!r} is below 0")
    elif name == "brier" and outside(value, 0.0, 2.0):
        yield file.problem(line, f"brier {value!r} is outside [0, 2]")


def _corruptions(file: RecordFile, begin: Line) -> Iterator[Problem]:
    """Each corruption of the settings at each severity, and the mean that was recorded."""
    settings = begin.inside("settings")
    names, severities = settings.get("corruptions"), settings.get("severities")
    if not isinstance(names, list) or not isinstance(severities, list):
        return
    values: dict[tuple[str, str], tuple[str, Any]] = {}
    for line in file.of("metric"):
        if line.fields.get("name") in _CORRUPTED:
            detail = line.inside("detail")
            place = str(detail.get("corruption")), str(detail.get("severity"))
            values[place] = str(line.fields["name"]), line.fields.get("value")
    wanted = {
        (str(name), str(severity)) for name in cast("list[Any]", names) for severity in cast("list[Any]", severities)
    }
    missing, extra = sorted(wanted - values.keys()), sorted(values.keys() - wanted)
    if missing and file.lines[-1].kind == "end":
        yield file.problem(
            None, f"{len(missing)} of {len(wanted)} corruptions are missing, first {' '.join(missing[0])}"
        )
    if extra:
        yield file.problem(None, f"{len(extra)} corruptions are not in the settings, first {' '.join(extra[0])}")
    counted = [value for name, value in values.values() if name == _CORRUPTED[0]]
    for line in file.of("metric"):
        if line.fields.get("name") == _MEAN and counted and not any(outside(value, 0.0, 1.0) for value in counted):
            mean = sum(counted) / len(counted)
            if outside(line.fields.get("value"), mean - SAME, mean + SAME):
                yield file.problem(line, f"{_MEAN} {line.fields.get('value')!r}, but the recorded ones have {mean:.6f}")


def _clean(file: RecordFile, attempt: Attempt) -> Iterator[Problem]:
    """The clean evaluator and the last epoch look at the same images with the same weights."""
    for line in file.of("metric"):
        if line.fields.get("name") == "top1" and attempt.last_top1 is not None and attempt.images:
            allowed = tolerated(attempt.images) / attempt.images + SAME
            if outside(line.fields.get("value"), attempt.last_top1 - allowed, attempt.last_top1 + allowed):
                text = f"top1 {line.fields.get('value')!r}, but {attempt.last_top1!r} after the last epoch"
                yield file.problem(line, text)


def tolerated(images: int) -> int:
    """Images that two passes of one network may answer differently (other batch sizes, other arithmetic): 0.1 %, 2."""
    return max(2, images // 1000)
