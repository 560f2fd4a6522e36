"""Numbers on the command line; what is none of its kind is refused with the range."""

from __future__ import annotations

import argparse
import math


def positive(text: str) -> int:
    """A whole number from 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not '{text}'")
    return int(text)


def seconds(text: str) -> float:
    """Seconds from 0.1 to a day."""
    number = _number(text)
    if not 0.1 <= number <= 86400:
        raise argparse.ArgumentTypeError(f"must be a number of seconds from 0.1 to 86400, not '{text}'")
    return number


def timeout(text: str) -> float:
    """Seconds above 0."""
    number = _number(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, not '{text}'")
    return number


def speed(text: str) -> float:
    """A number above 0."""
    number = _number(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not '{text}'")
    return number


def _number(text: str) -> float:
    """NaN, which lies in no range, where the text is no number."""
    try:
        return float(text)
    except ValueError:
        return math.nan
