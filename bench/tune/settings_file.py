"""Which settings the files of a tuning folder belong to, so that a tuning with others does not overwrite them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from bench.config.overrides import Overrides
from bench.errors import BadInput
from bench.records.errors import storage
from bench.report.write import replace_file
from bench.tune.plan import Settings

SETTINGS_FILE = "settings.json"


def require_same(folder: Path, settings: Settings, given: Overrides) -> None:
    """BadInput where the folder holds a tuning with another sampler, seed or `--set`, or with more trials."""
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return
    there, wanted = _read(path), _plain(settings, given)
    trials = there.pop("trials", None)
    wanted.pop("trials")
    if there != wanted or not isinstance(trials, int) or trials > settings.trials:
        old = ", ".join(f"{name} {json.dumps(value)}" for name, value in {"trials": trials, **there}.items())
        raise BadInput(
            f"{folder}: holds a tuning with other settings ({old}); move it away or choose another folder by --results"
        )


def write_settings(folder: Path, settings: Settings, given: Overrides) -> None:
    """Say which settings the folder's files belong to. StorageError when it cannot be written."""
    replace_file(folder / SETTINGS_FILE, (json.dumps(_plain(settings, given), indent=1) + "\n").encode())


def _plain(settings: Settings, given: Overrides) -> dict[str, Any]:
    keys = {f"{section}.{key}": value for section, values in given.keys.items() for key, value in values.items()}
    plain = {
        "sampler": settings.sampler, "seed": settings.seed, "set": {**given.axes, **keys}, "trials": settings.trials
    }  # fmt: skip
    return json.loads(json.dumps(plain, sort_keys=True))


def _read(path: Path) -> dict[str, Any]:
    with storage("cannot read", path):
        text = path.read_bytes()
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise BadInput(f"{path}: is damaged; move the folder away or choose another by --results")
    return cast("dict[str, Any]", found)
