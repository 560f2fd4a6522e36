"""What the gallery shows, without what it takes to make it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """One image as a data URI (PNG), with words for who cannot see it and the label under it."""

    uri: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Strip:
    """A row of pictures. note: what was drawn, or why there is no picture."""

    method: str
    pictures: list[Picture]
    note: str


@dataclass(frozen=True)
class Gallery:
    """The images of one cell: the first strip shows them unmixed. about: what was done."""

    title: str
    side: int
    strips: list[Strip]
    about: str
