"""The stored baseline: numbers of many seeds, and what they were made from. Read as untrusted input."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from bench.errors import BadInput
from bench.records.errors import storage
from bench.spec import Labels, NonNegativeInt, PositiveFloat, PositiveInt, Section, canonical_json

SCHEMA = 1
RECOMMENDED_SEEDS = 10
FEWEST_SEEDS = 3
LARGEST_FILE = 20_000_000
"""Bytes; larger files are refused unread."""
STRICTEST, LOOSEST = 0.001, 0.2
"""Between these lies the chance of a false regression that a baseline may state."""
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=2000)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
MaybeDigest = Annotated[str, Field(pattern=r"^([0-9a-f]{16})?$")]


class BaselineRun(Section):
    """One run behind the baseline. value: a share in [0, 1]. equality: as `bench.gate.measures.Measure` has it."""

    seed: NonNegativeInt
    run_id: Digest
    attempt: Text
    source_digest: Text
    value: Share
    equality: MaybeDigest = ""


class Entry(Section):
    """One gated number of one table row: its runs and what they have in common.

    arm: id of the row. spec: what that id is a digest of, to tell how another row differs. points, evaluator: as
    `Measure` has them. test_images: how many images the number is a share of.
    """

    measure: Text
    labels: Labels
    arm: Digest
    spec: dict[str, Any]
    test_images: PositiveInt
    points: MaybeDigest = ""
    evaluator: MaybeDigest = ""
    runs: Annotated[tuple[BaselineRun, ...], Field(min_length=FEWEST_SEEDS)]

    @model_validator(mode="after")
    def _consistent(self) -> Entry:
        if arm_digest(self.spec) != self.arm:
            raise ValueError("the spec does not give the arm's id")
        if len({run.seed for run in self.runs}) < len(self.runs):
            raise ValueError("a seed stands twice")
        return self


class BaselineSession(Section):
    """One timing session. ratios: step time relative to the reference's in the same round, one number a round."""

    name: Text
    source_digest: Text
    ratios: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]


class SpeedEntry(Section):
    """Step times of one table row relative to the reference row, timed in turns on one kind of machine."""

    labels: Labels
    arm: Digest
    spec: dict[str, Any]
    reference: Digest
    hardware: Text
    torch: Text
    sessions: Annotated[tuple[BaselineSession, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> SpeedEntry:
        if arm_digest(self.spec) != self.arm:
            raise ValueError("the spec does not give the arm's id")
        return self


class Margins(Section):
    """The smallest drops that matter, in percentage points, stated before any new run."""

    accuracy: PositiveFloat
    robustness: PositiveFloat


class PlannedSuite(Section):
    """A suite as it was given: name or path, and `--set` options."""

    name: Text
    assignments: tuple[Text, ...] = ()


class Baseline(Section):
    """A whole baseline file. code: git commit and package versions, for people. replaces: digest of the file before.

    alpha: chance of a false regression of accuracy, or of robustness, in one study of unchanged code.
    """

    kind: Literal["mixbench baseline"]
    schema_version: Literal[1]
    created: Text
    reason: Annotated[str, Field(min_length=1, max_length=2000)]
    replaces: MaybeDigest = ""
    code: dict[str, Any]
    suites: tuple[PlannedSuite, ...]
    margins: Margins
    alpha: Annotated[float, Field(ge=STRICTEST, le=LOOSEST, allow_inf_nan=False)] = 0.05
    accuracy: tuple[Entry, ...] = ()
    robustness: tuple[Entry, ...] = ()
    speed: tuple[SpeedEntry, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> Baseline:
        for kind in ("accuracy", "robustness"):
            names = [(entry.arm, entry.measure) for entry in getattr(self, kind)]
            if len(set(names)) < len(names):
                raise ValueError(f"{kind}: a number of one row stands twice")
        timed = [(entry.arm, entry.hardware) for entry in self.speed]
        if len(set(timed)) < len(timed):
            raise ValueError("speed: a row stands twice for one machine")
        return self


def arm_digest(spec: dict[str, Any]) -> str:
    """The id of a table row from its canonical spec without the seed, as `Spec.arm` gives it."""
    return hashlib.blake2b(canonical_json(spec).encode(), digest_size=8).hexdigest()


def read_baseline(path: Path) -> Baseline:
    """The baseline in a file. BadInput, one line, where it is missing, damaged or not one."""
    if not path.is_file():
        raise BadInput(f"{path}: no such baseline; write one with `mixbench gate accept --baseline {path} ...`")
    with storage("cannot read", path):
        if path.stat().st_size > LARGEST_FILE:
            raise BadInput(f"{path}: is larger than {LARGEST_FILE // 1_000_000} MB, so it is no baseline")
        content = path.read_bytes()
    try:
        plain = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: is not JSON ({str(error).splitlines()[0]})") from None
    schema = plain.get("schema_version") if isinstance(plain, dict) else None
    if isinstance(schema, int) and schema != SCHEMA:
        raise BadInput(f"{path}: has schema version {schema}, this mixbench reads {SCHEMA}; accept a new baseline")
    try:
        return Baseline.model_validate_json(content)
    except (ValidationError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: is no baseline: {_first_problem(error)}") from None


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write the file whole or not at all. Equal baselines give equal bytes."""
    text = json.dumps(baseline.model_dump(mode="json"), indent=1, sort_keys=True, allow_nan=False) + "\n"
    partial = path.with_name(path.name + ".partial")
    with storage("cannot write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)


def _first_problem(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error).splitlines()[0]
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place + ': ' if place else ''}{first['msg'].removeprefix('Value error, ')}".replace("\n", " ")
