"""What a person is told of a command that failed, and its exit code."""

from __future__ import annotations

import os
import sys

from bench.errors import EXIT_BAD_INPUT, EXIT_FINE, EXIT_INCOMPLETE, EXIT_INTERRUPTED, BadInput, Incomplete
from bench.records.errors import StorageError, disk_is_full


def failure_code(error: BaseException) -> int | None:
    """Say on stderr in one line what went wrong and return the exit code; None for an error of the program itself."""
    if isinstance(error, StorageError) and error.full:
        return _full(str(error))
    if isinstance(error, BadInput | StorageError):
        print(f"mixbench: {error}", file=sys.stderr)
        return EXIT_INCOMPLETE if isinstance(error, Incomplete) else EXIT_BAD_INPUT
    if isinstance(error, KeyboardInterrupt):
        print("mixbench: interrupted; finished work is kept and the same command goes on from here", file=sys.stderr)
        return EXIT_INTERRUPTED
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FINE
    if isinstance(error, OSError) and disk_is_full(error):
        return _full(f"cannot write {error.filename or 'a file'}: {error.strerror}")
    return None


def _full(problem: str) -> int:
    print(f"mixbench: {problem}; what is finished is kept: make room and give the same command again", file=sys.stderr)
    return EXIT_INCOMPLETE
