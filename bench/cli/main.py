"""`mixbench`: from a command line to an exit code. Each command imports what it needs when it runs."""

from __future__ import annotations

import importlib
import sys

from bench.cli.arguments.build import build_parser
from bench.cli.failure import failure_code
from bench.cli.refused import absent, take_away
from bench.errors import EXIT_BAD_INPUT


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code; what a user got wrong is one line on stderr and leaves nothing."""
    options = build_parser().parse_args(arguments)
    made = absent(getattr(options, "results", None))
    try:
        command = importlib.import_module(f"bench.cli.{options.module}")
        code = command.run(options)
        sys.stdout.flush()
        return code
    except (Exception, KeyboardInterrupt) as error:
        told = failure_code(error)
        if told is None:
            raise
        if told == EXIT_BAD_INPUT:
            take_away(made)
        return told
