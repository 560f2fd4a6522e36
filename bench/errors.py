"""Errors that a person reads: one line saying what is wrong, where, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_FINE = 0
EXIT_REGRESSION = 1
EXIT_BAD_INPUT = 2
EXIT_INCOMPLETE = 3
EXIT_INTERRUPTED = 130


class BadInput(Exception):
    """Something the user gave is wrong. The command line prints the message as one line and exits with code 2."""


class Incomplete(BadInput):
    """What the user asked for is right, but runs that it needs are missing. Exit code 3."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """A closing phrase that names the closest valid choice, or lists all where none is close."""
    known = sorted(choices)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    if not known:
        return "there is none to choose from"
    shown = ", ".join(known[:12]) + (f", ... ({len(known)} in all)" if len(known) > 12 else "")
    return f"choose one of: {shown}"
