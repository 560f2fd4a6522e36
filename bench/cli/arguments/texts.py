"""What a command says of itself: its summary, its exit codes, an example."""

from __future__ import annotations

import argparse

from bench.cli.arguments.parser import Parser
from bench.errors import EXIT_BAD_INPUT, EXIT_FINE, EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_REGRESSION

EXIT_CODES = "Exit codes: 0 fine, 1 regression or failed check, 2 bad input, 3 something is missing, 130 interrupted."
FULL = "the disk is full"
MISSING = f"runs are missing, or {FULL}"


def add_command(
    commands: argparse._SubParsersAction[Parser],
    name: str,
    summary: str,
    example: str,
    failed: str = "",
    missing: str = FULL,
) -> argparse.ArgumentParser:
    """The command that `bench.cli.NAME_command` runs.

    failed, missing: what exit codes 1 and 3 mean, "" where there is none.
    """
    added = described(commands, name, summary, example, failed, missing)
    added.set_defaults(module=f"{name}_command")
    return added


def described(
    commands: argparse._SubParsersAction[Parser], name: str, summary: str, example: str, failed: str, missing: str
) -> argparse.ArgumentParser:
    """A command whose help ends with its exit codes and an example; arguments as of `add_command`."""
    meanings = {EXIT_FINE: "fine", EXIT_REGRESSION: failed, EXIT_BAD_INPUT: "bad input", EXIT_INCOMPLETE: missing,
                EXIT_INTERRUPTED: "interrupted"}  # fmt: skip
    codes = ", ".join(f"{code} {meaning}" for code, meaning in meanings.items() if meaning)
    return commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"Exit codes: {codes}.\n\nExample:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
