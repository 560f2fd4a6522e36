"""One attempt's `train.jsonl`: frame, epochs in order, possible values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.records import STATUSES
from bench.spec import Spec
from bench.verify.begin import read_spec, told
from bench.verify.lines import Line, RecordFile, finite, mapping, outside, unexpected, whole
from bench.verify.problem import Problem

_FRAME = ("begin", "resume")


@dataclass
class Attempt:
    """What other checks need of an attempt. last_top1, images: of the last epoch's test; None where there is none."""

    name: str
    spec: Spec | None = None
    status: str = "incomplete"
    last: Line | None = None
    last_top1: float | None = None
    images: int | None = None
    told: list[Problem] = field(default_factory=list[Problem])


def check_training(file: RecordFile) -> tuple[Attempt, list[Problem]]:
    """The attempt, and every problem of its lines."""
    attempt = Attempt(file.name)
    problems = [*file.problems, *unexpected(file, (*_FRAME, "epoch", "file", "diagnostic", "end"))]
    if not file.lines:
        return attempt, [*problems, file.problem(None, "holds no line that can be used")]
    problems += _frame(file, attempt)
    problems += _epochs(file, attempt)
    for line in file.of("diagnostic"):
        if not isinstance(line.fields.get("name"), str) or finite(line.fields.get("value")) is None:
            problems.append(file.problem(line, "a diagnostic needs a name and a finite value"))
    return attempt, problems


def _frame(file: RecordFile, attempt: Attempt) -> Iterator[Problem]:
    if file.lines[0].kind != "begin":
        yield file.problem(file.lines[0], "the first line is no `begin`")
    ids: set[object] = set()
    for place, line in enumerate(file.lines):
        if line.kind == "begin" and place:
            yield file.problem(line, "a second `begin`")
        if line.kind in _FRAME:
            spec, problems = read_spec(file, line)
            yield from problems
            ids.add(line.fields.get("run_id"))
            attempt.spec, attempt.status = spec, "incomplete"
            if spec is not None:
                attempt.told = list(told(file, line, spec))
        elif line.kind == "end":
            attempt.status = str(line.fields.get("status"))
            if attempt.status not in STATUSES:
                yield file.problem(line, f"the status '{attempt.status}' is none of {', '.join(STATUSES)}")
            seconds = line.fields.get("seconds")
            if seconds is not None and outside(seconds, 0.0, float("inf")):
                yield file.problem(line, f"impossible time of {seconds!r} s")
            following = file.lines[place + 1 :]
            if following and following[0].kind != "resume":
                yield file.problem(following[0], "a line after the end")
    if len(ids) > 1:
        yield file.problem(None, "holds lines of several runs")


def _epochs(file: RecordFile, attempt: Attempt) -> Iterator[Problem]:
    expected, sizes = 1, dict[str, int]()
    spec = attempt.spec
    planned = spec.effective_protocol.epochs if spec is not None else None
    for line in file.lines:
        if line.kind == "resume":
            start = whole(line.fields.get("epoch"))
            if start is None or not 0 <= start < expected:
                yield file.problem(line, f"goes on after epoch {start!r}, which is not recorded")
            else:
                expected = start + 1
        if line.kind != "epoch":
            continue
        number = whole(line.fields.get("epoch"))
        if number != expected:
            yield file.problem(line, f"epoch {number!r} stands where epoch {expected} belongs")
        expected = (number if number is not None else expected) + 1
        if planned is not None and number is not None and number > planned:
            yield file.problem(line, f"epoch {number} of {planned}")
        attempt.last = line
        yield from _values(file, line, attempt, sizes)
    if attempt.status != "ok" or spec is None or planned is None:
        return
    if spec.protocol.trained_elsewhere:
        if attempt.last is not None:
            yield file.problem(attempt.last, "an epoch of a network that was trained elsewhere")
    elif expected - 1 != planned:
        yield file.problem(None, f"ended ok after {expected - 1} of {planned} epochs")
    elif attempt.last_top1 is None:
        yield file.problem(attempt.last, "the last epoch has no test accuracy")


def _values(file: RecordFile, line: Line, attempt: Attempt, sizes: dict[str, int]) -> Iterator[Problem]:
    if finite(line.fields.get("train_loss")) is None and attempt.status == "ok":
        yield file.problem(line, "the training loss of a run that ended ok is no finite number")
    for name in ("learning_rate", "seconds"):
        if outside(line.fields.get(name), 0.0, float("inf")):
            yield file.problem(line, f"impossible {name.replace('_', ' ')} {line.fields.get(name)!r}")
    attempt.last_top1 = attempt.images = None
    for split in ("test", "validation"):
        if line.fields.get(split) is None:
            continue
        measured = mapping(line.fields[split])
        top1, count = measured.get("top1"), whole(measured.get("n"))
        if outside(top1, 0.0, 1.0):
            yield file.problem(line, f"{split} top1 {top1!r} is outside [0, 1]")
        if outside(measured.get("nll"), 0.0, float("inf")) and attempt.status == "ok":
            yield file.problem(line, f"impossible {split} nll {measured.get('nll')!r}")
        if count is None or count < 1:
            yield file.problem(line, f"{split} n {measured.get('n')!r} is no number of images")
            continue
        if sizes.setdefault(split, count) != count:
            yield file.problem(line, f"{split} n {count}, but {sizes[split]} in an earlier epoch")
        share = finite(top1)
        if share is not None and abs(share * count - round(share * count)) > 1e-3:
            yield file.problem(line, f"{split} top1 {share!r} is no whole number of {count} images")
        if split == "test":
            attempt.last_top1, attempt.images = share, count
