"""What the commands that take a suite share."""

from __future__ import annotations

import argparse

from bench.config.overrides import Overrides, parse_set_options
from bench.config.suite import Suite, load_suite
from bench.records import Store


def suite_of(options: argparse.Namespace, **axes: object) -> Suite:
    """The suite that the options name, with `--set` and further axes applied."""
    given = parse_set_options(options.assignments)
    return load_suite(options.suite, Overrides(given.source, {**given.axes, **axes}, given.keys))


def store_of(options: argparse.Namespace, indexed: bool = True) -> Store:
    """The records below `--results`. indexed: thousands of runs may be known from RESULTS/index, unread."""
    return Store(options.results / "records", options.results / "index" / "summaries.jsonl" if indexed else None)
