"""All checks of a folder of records, and those that compare its runs with each other."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bench.errors import BadInput
from bench.records import PREDICTIONS_FILE, TRAIN_FILE, recorded_files
from bench.records.kept import damage
from bench.verify.arrays import check_predictions, check_weights
from bench.verify.evaluations import check_evaluation
from bench.verify.folder import look_around
from bench.verify.lines import read_lines
from bench.verify.problem import Problem, Verdict
from bench.verify.sessions import check_session
from bench.verify.training import Attempt, check_training


def verify_records(root: Path) -> Verdict:
    """Check everything below `root`; nothing is changed and nothing is executed.

    BadInput where `root` is no folder or holds no run. Problems stand in the order of the files.
    """
    if not root.is_dir():
        raise BadInput(f"{root}: there is no such folder")
    found = look_around(root)
    verdict = Verdict(found.problems)
    splits = _Splits()
    contents: dict[str, str] = {}
    for folder, names in sorted(found.attempts.items()):
        place = folder.relative_to(root).as_posix()
        if TRAIN_FILE not in names:
            verdict.problems.append(Problem(place, None, f"has no {TRAIN_FILE}"))
            continue
        content = hashlib.blake2b((folder / TRAIN_FILE).read_bytes()).hexdigest()
        if content in contents:
            verdict.problems.append(Problem(place, None, f"is a copy of {contents[content]}"))
        contents.setdefault(content, place)
        attempt = _check_attempt(folder, place, sorted(names), verdict, splits)
        if attempt.status != "ok":
            verdict.told.append(Problem(attempt.name, None, f"the run is {attempt.status}"))
    verdict.runs = len({folder.parent for folder in found.attempts})
    for path in found.sessions:
        verdict.problems += check_session(read_lines(path, path.relative_to(root).as_posix()))
    if not verdict.runs and not found.sessions and not verdict.problems:
        raise BadInput(f"{root}: holds no records (<run id>/<attempt>/{TRAIN_FILE})")
    return verdict


def _check_attempt(folder: Path, place: str, names: list[str], verdict: Verdict, splits: _Splits) -> Attempt:
    attempt, problems = check_training(read_lines(folder / TRAIN_FILE, f"{place}/{TRAIN_FILE}"))
    verdict.problems += problems
    verdict.told += attempt.told
    recorded = recorded_files(folder / TRAIN_FILE)
    for name in names:
        path, shown = folder / name, f"{place}/{name}"
        if name in recorded and damage(path, recorded[name]) is not None:
            verdict.problems.append(Problem(shown, None, "is not the file whose digest stands in the record"))
        if name.startswith("eval-"):
            problems, told = check_evaluation(read_lines(path, shown), attempt)
            verdict.problems += problems
            verdict.told += told
        elif name == PREDICTIONS_FILE:
            labels, problems = check_predictions(path, shown, attempt)
            verdict.problems += [*problems, *splits.add(attempt, "labels", labels)]
        elif name.endswith(".safetensors"):
            verdict.problems += check_weights(path, shown)
    verdict.problems += splits.add(attempt, "test images", attempt.images)
    if attempt.spec is not None:
        verdict.problems += splits.add_label(attempt)
    return attempt


class _Splits:
    """What runs say of their test images: one data digest a data label, one set of labels and one size a digest."""

    def __init__(self) -> None:
        self._facts: dict[tuple[str, str], tuple[object, str]] = {}

    def add(self, attempt: Attempt, what: str, value: object) -> list[Problem]:
        """Problems where a run with the same data digest told otherwise. Nothing is learnt from "" and None."""
        if attempt.spec is None or value in ("", None):
            return []
        return self._compare(attempt, str(attempt.spec.data.digest), what, value)

    def add_label(self, attempt: Attempt) -> list[Problem]:
        """Problems where a run with the same data label and settings has other splits."""
        assert attempt.spec is not None
        data = attempt.spec.data
        settings = data.model_dump_json(exclude={"digest", "root", "workers"})
        return self._compare(attempt, f"{attempt.spec.labels.data} {settings}", "data digest", data.digest)

    def _compare(self, attempt: Attempt, key: str, what: str, value: object) -> list[Problem]:
        known, first = self._facts.setdefault((key, what), (value, attempt.name))
        if known == value:
            return []
        return [Problem(attempt.name, None, f"its {what} are not those of {first}, though the data should be the same")]
