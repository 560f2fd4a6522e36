"""A folder of records given by its path: committed reference records, or a stranger's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.config.folders import ConfigFolders
from bench.errors import BadInput
from bench.records import TRAIN_FILE
from bench.records.store import SPEED_FOLDER, beside
from bench.report.announced import PLANNED_FILE


def in_place_of_a_suite(given: str, assignments: Sequence[str] = ()) -> Path | None:
    """The folder of records that stands where a suite may stand. None: a suite, which wins over a folder so named.

    assignments: `--set`, which only a suite understands. BadInput for a folder with them, or without records.
    """
    path = Path(given).expanduser()
    if not path.is_dir() or ConfigFolders().find("suite", given) is not None:
        return None
    root = records_folder(path)
    require_runs(root)
    if assignments:
        raise BadInput("--set: changes a suite, and a folder of records is none")
    return root


def records_folder(given: Path) -> Path:
    """The folder of records itself: the one given, or `records` inside it, which may be still to come."""
    inside = given / "records"
    return inside if inside.is_dir() or beside(inside, PLANNED_FILE).is_file() else given


def require_runs(root: Path) -> None:
    """BadInput where a folder holds no records, neither of runs nor of step times, and none are announced."""
    patterns = (f"*/*/{TRAIN_FILE}", f"{SPEED_FOLDER}/*.jsonl")
    if not any(any(root.glob(pattern)) for pattern in patterns) and not beside(root, PLANNED_FILE).is_file():
        raise BadInput(f"{root}: holds no records (<run id>/<attempt>/{TRAIN_FILE})")
