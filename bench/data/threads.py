"""Apply a function to many files in threads, with progress. Reading, hashing and decoding release Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from bench.data.progress import Progress

A = TypeVar("A")
B = TypeVar("B")

CHUNK = 64
FEW = 2000
"""Below this many items there is nothing to say while it lasts."""


def in_threads(what: str, unit: str, items: Sequence[A], work: Callable[[A], B]) -> list[B]:
    """[work(item) for item in items], on all cores that this process may use. The first exception ends it."""
    chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    results: list[B] = []
    with ThreadPoolExecutor(usable_cores()) as pool:
        done = pool.map(lambda chunk: [work(item) for item in chunk], chunks)
        if len(items) < FEW:
            return [result for chunk in done for result in chunk]
        with Progress(what, len(items), unit) as progress:
            for chunk in done:
                results.extend(chunk)
                progress.advance(len(chunk))
    return results


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
