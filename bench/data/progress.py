"""Progress of slow preparations: a bar on a terminal, now and then a plain line elsewhere. All of it on stderr."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """`with Progress("decoding", 50_000, "images") as progress: progress.advance(100)`."""

    def __init__(self, what: str, total: int, unit: str) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = 0
        self.last = time.monotonic()
        self.bar: tqdm | None = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            self.bar = tqdm(total=self.total, desc=self.what, unit=f" {self.unit}", file=sys.stderr, leave=False)
        else:
            print(f"{self.what}: {self.total} {self.unit}", file=sys.stderr, flush=True)
        return self

    def advance(self, count: int) -> None:
        """`count` more are done."""
        self.done += count
        if self.bar is not None:
            self.bar.update(count)
        elif time.monotonic() - self.last >= SECONDS_BETWEEN_LINES:
            self.last = time.monotonic()
            print(f"{self.what}: {self.done} of {self.total} {self.unit}", file=sys.stderr, flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.close()
