"""Records of runs written by hand, with times that a test chooses."""

from __future__ import annotations

import os
from pathlib import Path

from bench.records import RecordWriter, Store
from bench.sweep.todo import Todo

MACHINE = {"processor": "Abacus", "threads": 1, "gpu": None}


def write_run(
    store: Store, item: Todo, epochs: list[float], status: str | None = "ok", seconds: float | None = None,
    evaluators: dict[str, float] | None = None, provenance: dict[str, object] | None = None, quiet: float = 0.0,
    reason: str | None = None, now: float = 0.0,
) -> Path:  # fmt: skip
    """One attempt at a planned run: the seconds of its epochs, its end (None leaves it open), evaluators' seconds.

    quiet: seconds before `now` at which its files changed last, where `now` is given.
    """
    folder = store.new_attempt(item.spec.run_id)
    facts = MACHINE if provenance is None else provenance
    with RecordWriter(folder / "train.jsonl") as record:
        record.append(
            "begin", schema=1, run_id=item.spec.run_id, spec=item.spec.model_dump(mode="json"), provenance=facts,
            labels=item.spec.labels.model_dump(), source_digest=item.source_digest, planned=item.seeds, epoch=0,
        )  # fmt: skip
        for number, took in enumerate(epochs, start=1):
            record.append("epoch", epoch=number, seconds=took, train_loss=1.0, test=None, validation=None)
        if status is not None:
            record.append("end", status=status, reason=reason, seconds=seconds)
    for name, took in (evaluators or {}).items():
        with RecordWriter(folder / f"eval-{name}-1.jsonl") as record:
            record.append("begin", eval=name, digest="", source_digest="", done=0, provenance=facts)
            record.append("end", status="ok", seconds=took)
    if now:
        for path in folder.iterdir():
            os.utime(path, (now - quiet, now - quiet))
    return folder
