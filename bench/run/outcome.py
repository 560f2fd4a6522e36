"""How a run ended that several processes share, as the first of them that knew it wrote it down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

TASK_FILE, OUTCOME_FILE = "task.json", "outcome.json"
"""What a worker and the processes that it starts share in a folder of their own."""

SAVING_SECONDS = 30.0
"""How long the processes may take to save the run's state when they are asked to stop."""


class Outcome(NamedTuple):
    """status, reason: as a worker tells them. full: the disk was."""

    status: str
    reason: str | None
    full: bool = False


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Write down how the run ended, unless another process has done so."""
    try:
        with (folder / OUTCOME_FILE).open("x") as file:
            json.dump(outcome._asdict(), file)
    except FileExistsError:
        return


def read_outcome(folder: Path) -> Outcome | None:
    """How the run ended; None where nobody has said so."""
    try:
        return Outcome(**json.loads((folder / OUTCOME_FILE).read_text()))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
