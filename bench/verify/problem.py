"""What a check has found: one line each, with file and line."""

from __future__ import annotations

from dataclasses import dataclass, field

_LONGEST = 300


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. file: relative to the records, with "/". line: from 1, None for the file as a whole."""

    file: str
    line: int | None
    text: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return harmless(f"{place}: {self.text}")


@dataclass
class Verdict:
    """problems: reasons not to take the records. told: what a reader should know and is no fault. runs: how many."""

    problems: list[Problem] = field(default_factory=list[Problem])
    told: list[Problem] = field(default_factory=list[Problem])
    runs: int = 0


def harmless(text: str) -> str:
    """Text of a stranger for a terminal: one line, no control characters, at most 300 characters."""
    shown = "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in text)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 3]}..."
