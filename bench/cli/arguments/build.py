"""The parser with all commands."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.cli.arguments.checking import add_checking
from bench.cli.arguments.gating import add_gating
from bench.cli.arguments.looking import add_looking
from bench.cli.arguments.parser import Parser
from bench.cli.arguments.reading import add_reading
from bench.cli.arguments.running import add_running
from bench.cli.arguments.texts import EXIT_CODES
from bench.cli.arguments.timing import add_timing


def build_parser() -> argparse.ArgumentParser:
    """The parser with all commands."""
    parser = Parser(
        prog="mixbench",
        description="Compare mixing augmentations under one training protocol.",
        epilog=f"{EXIT_CODES}\n\nStart with:\n  mixbench run configs/suite/quickstart.yaml",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mixbench {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for add in (add_looking, add_running, add_timing, add_reading, add_gating, add_checking):
        add(commands)
    _add_processes(commands)
    return parser


def _add_processes(commands: argparse._SubParsersAction[Parser]) -> None:
    """What sweeps start as processes of their own; without help, so that no list shows them."""
    commands.add_parser("worker").set_defaults(module="worker")
    rank = commands.add_parser("rank")
    rank.add_argument("folder", type=Path)
    rank.set_defaults(module="rank")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("mixbench")
    except PackageNotFoundError:
        return "(not installed)"
