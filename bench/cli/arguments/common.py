"""Options that several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.cli.arguments.values import positive

RESULTS = Path("results/local")


def add_suite(parser: argparse.ArgumentParser) -> None:
    """A suite by name or file, and what `add_set` adds."""
    parser.add_argument("suite", metavar="SUITE", help="name of a suite or path of its YAML file")
    add_set(parser)


def add_set(parser: argparse.ArgumentParser) -> None:
    """--set, --hardware and --results."""
    help_text = "a setting (protocol.epochs=3) or an axis (backbone=resnet50) to change; repeatable"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments", help=help_text)
    parser.add_argument("--hardware", metavar="TEXT", help="part of the name of the machine whose step times to show")
    add_results(parser)


def add_results(parser: argparse.ArgumentParser) -> None:
    """--results."""
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR",
                        help=f"where records, tables and figures are (default: {RESULTS})")  # fmt: skip


def add_machine(parser: argparse.ArgumentParser) -> None:
    """--device, --workers and --threads."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--workers", type=positive, metavar="N", help="worker processes (default: one a GPU or core)")
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads a worker")


def add_json(parser: argparse._ActionsContainer) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="print JSON on stdout")
