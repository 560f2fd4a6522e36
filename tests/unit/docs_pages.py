"""What the tests of the documentation read from its pages: links, headings, fenced blocks, command lines."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "results" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
_FENCE = re.compile(r"^(```+)([^\n]*)\n(.*?)^\1\s*$", re.MULTILINE | re.DOTALL)


class Fence(NamedTuple):
    """A fenced block: its language ("" for none) and text."""

    language: str
    text: str


class Command(NamedTuple):
    """A `mixbench ...` line of a page. whole: from a fenced block, so that it must parse as it stands."""

    page: str
    text: str
    words: list[str]
    whole: bool


def fences(text: str) -> list[Fence]:
    """The fenced blocks of a page."""
    return [Fence(found[2].strip(), found[3]) for found in _FENCE.finditer(text)]


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", text)


def links(text: str) -> list[str]:
    """Targets of all links and images, code left out."""
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(text)))


def anchors(text: str) -> set[str]:
    """The anchors that headings get: lower case, no punctuation, hyphens for spaces."""
    titles = re.findall(r"^#{1,6} +(.+?)\s*$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands(page: Path) -> list[Command]:
    """All command lines of a page, comments cut off and continued lines joined."""
    text, name = page.read_text(encoding="utf-8"), str(page.relative_to(ROOT))
    found: list[Command] = []
    for block in fences(text):
        for line in block.text.replace("\\\n", " ").splitlines():
            if line.startswith("mixbench "):
                found.append(Command(name, line, shlex.split(line, comments=True)[1:], True))
    for line in re.findall(r"`(mixbench [^`]+)`", prose(text)):
        found.append(Command(name, line, shlex.split(" ".join(line.split()))[1:], False))
    return found
