"""What stands at the head of tables: the title and the note of a suite, or of a folder of records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import field_validator

from bench.config.validation import validated
from bench.config.yaml_file import read_yaml
from bench.records.store import beside
from bench.spec import Section

ABOUT_FILE = "about.yaml"


@dataclass(frozen=True)
class About:
    """One line each, printable characters only; an empty one is not shown. Made by `about`."""

    title: str = ""
    note: str = ""


NOTHING_SAID = About()


class AboutFile(Section):
    """What an about.yaml may say. note: what a reader has to know of the data before comparing a number."""

    title: str
    note: str = ""

    @field_validator("title", "note", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError("must be text")  # without the value: a stranger's file may nest aliases without end
        return value

    @field_validator("title")
    @classmethod
    def _something(cls, value: str) -> str:
        if not one_line(value):
            raise ValueError("must not be empty")
        return value


def about(title: str, note: str = "") -> About:
    """Title and note as one line each."""
    return About(one_line(title), one_line(note))


def read_about(root: Path) -> About:
    """What the about.yaml of a folder of records says; NOTHING_SAID where there is none.

    root: the folder of the records themselves. BadInput with file and line for a file that says something else.
    """
    path = about_file(root)
    if not path.exists():
        return NOTHING_SAID
    source = read_yaml(path)
    file = validated(AboutFile, source.values, source.where)
    return about(file.title, file.note)


def about_file(root: Path) -> Path:
    """Where the about.yaml of records stands."""
    return beside(root, ABOUT_FILE)


def one_line(text: str) -> str:
    """A text without line ends and control characters, which could move a terminal's cursor or end a comment."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())
