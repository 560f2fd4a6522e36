"""How long independent jobs take on equal machines."""

from __future__ import annotations

import heapq
from collections.abc import Iterable


def list_schedule(seconds: Iterable[float], machines: int) -> float:
    """Time until the last job ends, each job whole on one machine, the longest job first to the machine free first.

    seconds: at least 0 each. At most 4/3 - 1/(3 machines) times the shortest possible (Graham, Bounds on
    multiprocessing timing anomalies, 1969). ValueError for fewer than one machine.
    """
    if machines < 1:
        raise ValueError(f"a schedule needs a machine, not {machines}")
    free = [0.0] * machines
    for job in sorted(seconds, reverse=True):
        heapq.heapreplace(free, free[0] + job)
    return max(free)
