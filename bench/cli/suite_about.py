"""What stands at the head of a suite's tables."""

from __future__ import annotations

from bench.config.suite import Suite
from bench.report.about import About, about


def suite_about(suite: Suite) -> About:
    """A suite's title, else its name, and its note."""
    return about(suite.file.title or suite.name, suite.file.note)
