"""Which timing sessions may stand in one block of a table, and what one method's steps took in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.records import SpeedSession
from bench.report.measurements import number
from bench.stats import median

MACHINE = ("hardware", "precision", "torch")
"""What sessions of one block have in common; rows that differ in it are never merged."""


@dataclass(frozen=True)
class Timing:
    """One arm over the sessions of a block. rounds: step seconds by (session, round). facts: its latest arm line."""

    rounds: dict[tuple[str, int], float]
    facts: dict[str, Any]


def machines(sessions: Sequence[SpeedSession]) -> list[list[SpeedSession]]:
    """The current sessions by machine, each list oldest first, the machine with the newest session last.

    Sessions of other code than the newest one's are left out, and on each machine those with other settings than its
    newest one's.
    """
    ordered = sorted(sessions, key=lambda session: session.name)
    groups: dict[tuple[str, ...], list[SpeedSession]] = {}
    for session in ordered:
        if _same_code(session, ordered[-1]):
            groups.setdefault(tuple(text(session, key) for key in MACHINE), []).append(session)
    current = [[one for one in group if _same_settings(one, group[-1])] for group in groups.values()]
    return sorted(current, key=lambda group: group[-1].name)


def belongs_to(session: SpeedSession) -> str | None:
    """Id of the cell whose tables a session is for: its own, or the one that it is a changed copy of."""
    scaling: dict[str, Any] = dict(session.begin.get("scaling") or {})
    found = scaling.get("of", session.begin.get("cell"))
    return found if isinstance(found, str) else None


def finished(sessions: Sequence[SpeedSession], hardware: str | None) -> list[SpeedSession]:
    """The sessions that ended ok, on hardware whose name contains this text."""
    usable = [session for session in sessions if session.status == "ok" and session.samples]
    if hardware is None:
        return usable
    return [session for session in usable if hardware.lower() in text(session, "hardware").lower()]


def timing(arm: str, sessions: Sequence[SpeedSession]) -> Timing:
    """The times of one arm; empty where no session has any."""
    samples: dict[tuple[str, int], list[float]] = {}
    facts: dict[str, Any] = {}
    for session in sessions:
        for sample in session.samples:
            seconds, place = number(sample.get("seconds")), sample.get("round")
            if sample.get("arm") == arm and seconds and isinstance(place, int):
                samples.setdefault((session.name, place), []).append(seconds)
        facts = session.arms.get(arm, facts)
    return Timing({place: median(found) for place, found in sorted(samples.items())}, facts)


def twins(sessions: Sequence[SpeedSession]) -> tuple[Timing, Timing] | None:
    """The A/A pair: one method's times, and those of its second network, which stood for another method."""
    pairs = [(str(line["twin_of"]), arm) for one in sessions for arm, line in one.arms.items() if line.get("twin_of")]
    return (timing(pairs[-1][0], sessions), timing(pairs[-1][1], sessions)) if pairs else None


def text(session: SpeedSession, key: str) -> str:
    """A field of the begin line for people."""
    return str(session.begin.get(key) or "unknown")


def _same_code(session: SpeedSession, newest: SpeedSession) -> bool:
    """The same code for every method that both have timed."""
    digests, wanted = (dict(one.begin.get("source_digests") or {}) for one in (session, newest))
    return all(digests[arm] == wanted[arm] for arm in digests.keys() & wanted.keys())


def _same_settings(session: SpeedSession, newest: SpeedSession) -> bool:
    return session.begin.get("settings") == newest.begin.get("settings")
