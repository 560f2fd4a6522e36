"""The evaluators' records of one attempt: its folder is listed once, and each file is looked at once."""

from __future__ import annotations

import os
import re
from functools import cached_property

from bench.records.errors import storage
from bench.records.evaluation_summary import EvaluationSummary
from bench.records.summaries import Summaries

_BEGIN, _END = "eval-", ".jsonl"


class Evaluations:
    """What an attempt's folder holds of evaluators, as it was when it was first asked for."""

    def __init__(self, folder: str, summaries: Summaries) -> None:
        self.folder = folder
        self._all = summaries
        self._known: dict[str, EvaluationSummary] = {}
        self._deciding: dict[str, tuple[str, EvaluationSummary] | tuple[None, None]] = {}

    @cached_property
    def files(self) -> list[str]:
        """The names of all evaluators' files. StorageError when the folder cannot be read."""
        try:
            files = os.listdir(self.folder)  # noqa: PTH208 - a Path for each of 300,000 files takes seconds
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError:
            with storage("cannot read", self.folder):
                raise
        return [file for file in files if file.startswith(_BEGIN) and file.endswith(_END)]

    @cached_property
    def names(self) -> dict[str, list[str]]:
        """The names of each evaluator's files, oldest version first. StorageError when the folder cannot be read."""
        found: dict[str, list[str]] = {}
        for file in self.files:
            found.setdefault(file[len(_BEGIN) : -len(_END)].rpartition("-")[0], []).append(file)
        return {name: sorted(found[name], key=_age) if len(found[name]) > 1 else found[name] for name in sorted(found)}

    def summary(self, file: str) -> EvaluationSummary:
        """The summary of a file by its name; that of an empty file where there is none."""
        found = self._known.get(file)
        if found is None:
            found = self._known[file] = self._all.evaluation(self.path(file))
        return found

    def deciding(self, evaluator: str) -> tuple[str, EvaluationSummary] | tuple[None, None]:
        """Name and summary of an evaluator's newest complete record, else of its newest one; None without any."""
        found = self._deciding.get(evaluator)
        if found is None:
            files = self.names.get(evaluator, [])
            file = next(
                (one for one in reversed(files) if self.summary(one).end is not None), files[-1] if files else None
            )
            found = self._deciding[evaluator] = (None, None) if file is None else (file, self.summary(file))
        return found

    def path(self, file: str) -> str:
        """Where a file of this name lies."""
        return f"{self.folder}{os.sep}{file}"


def evaluation_name(name: str, version: str) -> str:
    """The name of the file of an evaluator of this name and version."""
    return f"{_BEGIN}{name}-{version}{_END}"


def _age(file: str) -> tuple[list[tuple[int, int, str]], str]:
    parts = re.split(r"[.]", file[: -len(_END)].rpartition("-")[2])
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts], file
