"""Append-only records of runs, and the store that finds them. Imports neither torch nor NumPy."""

from bench.records.errors import StorageError
from bench.records.reader import Lines, read_record
from bench.records.runs import (
    CHECKPOINT_FILE,
    PREDICTIONS_FILE,
    SCHEMA,
    STATUSES,
    TRAIN_FILE,
    Evaluation,
    RunRecord,
    evaluation_file,
)
from bench.records.speed import SpeedSession
from bench.records.store import Store
from bench.records.writer import RecordWriter

__all__ = [
    "CHECKPOINT_FILE",
    "PREDICTIONS_FILE",
    "SCHEMA",
    "STATUSES",
    "TRAIN_FILE",
    "Evaluation",
    "Lines",
    "RecordWriter",
    "RunRecord",
    "SpeedSession",
    "StorageError",
    "Store",
    "evaluation_file",
    "read_record",
]
