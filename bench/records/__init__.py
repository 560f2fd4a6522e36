"""Append-only records of runs, and the store that finds them. Imports neither torch nor NumPy."""

from bench.records.errors import StorageError, disk_is_full
from bench.records.kept import file_facts, recorded_files
from bench.records.reader import Lines, read_record
from bench.records.runs import (
    BEST_FILE,
    CHECKPOINT_FILE,
    METHOD_FILE,
    PREDICTIONS_FILE,
    SCHEMA,
    STATUSES,
    TRAIN_FILE,
    WEIGHTS_FILE,
    Evaluation,
    RunRecord,
    evaluation_file,
)
from bench.records.speed import SpeedSession
from bench.records.store import Store
from bench.records.writer import RecordWriter

__all__ = [
    "BEST_FILE",
    "CHECKPOINT_FILE",
    "METHOD_FILE",
    "PREDICTIONS_FILE",
    "SCHEMA",
    "STATUSES",
    "TRAIN_FILE",
    "WEIGHTS_FILE",
    "Evaluation",
    "Lines",
    "RecordWriter",
    "RunRecord",
    "SpeedSession",
    "StorageError",
    "Store",
    "disk_is_full",
    "evaluation_file",
    "file_facts",
    "read_record",
    "recorded_files",
]
