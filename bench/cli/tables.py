"""Write a suite's tables and figures and print them."""

from __future__ import annotations

from pathlib import Path

from bench.config.suite import Suite
from bench.records import Store


def write_all(suite: Suite, store: Store, results: Path, figures: bool, output: Path | None) -> None:
    """Placeholder until bench.report lands."""
