"""The argument parser that all commands share."""

from __future__ import annotations

import argparse
import sys

from bench.errors import EXIT_BAD_INPUT


class Parser(argparse.ArgumentParser):
    """argparse with the project's exit code and one-line errors, and options between positional arguments.

    Before Python 3.13 argparse takes an optional positional argument as left out when an option stands before it, as
    in `compare alignmix --against erm cifar10`.
    """

    _intermixing = False

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def, override]
        """As argparse's, with options between the positional arguments."""
        if self._intermixing or self._subparsers or len(self._get_positional_actions()) < 2:
            return super().parse_known_args(args, namespace)
        self._intermixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._intermixing = False

    def error(self, message: str) -> None:  # type: ignore[override]
        """One line on stderr, exit code 2."""
        print(f"mixbench: {message} (see `{self.prog} --help`)", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
