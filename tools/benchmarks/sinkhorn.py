"""Sinkhorn's back ends against a plain eager log loop, POT one problem at a time, and POT's batched solver."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import math
import time
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from methods.ops.alignment import squared_l2_cost
from methods.ops.keys import Key
from methods.ops.sinkhorn import choose_back_end, sinkhorn
from tools.interleaved import Row, ratio_row, seconds_in_turns

BATCH, EPSILON, ITERATIONS, CHANNELS = 128, 0.1, 100, 128
SIZES = (16, 49, 64)
MEDIAN_COST = 2750
"""Median of cost / epsilon, as measured at the last map of a trained ResNet-18."""
ROUNDS = 7
CALLS = 5
"""Of each back end in a round; the slow baselines are called once."""
ONE_BY_ONE = 8
"""Problems that POT solves in a round one by one, scaled to the whole batch."""


def rows(device: str) -> list[Row]:
    """Ratios of a baseline's time to that of each back end: how many times faster it is.

    Seconds are those of the back end for 128 problems. On a CPU one thread, in seconds of that thread's processor
    time, which other processes on the machine do not change; on a GPU from an idle device to an idle device.
    """
    place = torch.device(device)
    with _one_thread():
        return [row for n in SIZES for row in _case(n, place)]


def _case(n: int, device: torch.device) -> list[Row]:
    cost = official_scale_cost(n).to(device)
    ours = {name: _timed(device, _solve(cost, name), CALLS) for name in _back_ends(device, n)}
    baselines: dict[str, Callable[[], float]] = {"plain eager log loop": _timed(device, lambda: textbook_loop(cost), 1)}
    baselines |= _pot(cost, device)
    candidates = {**ours, **baselines}
    seconds_in_turns(candidates, 1)
    found = seconds_in_turns(candidates, ROUNDS)
    chosen = choose_back_end(device, n, n)
    return [
        ratio_row(f"Sinkhorn, {name}{' (chosen)' if name == chosen else ''}", f"B {BATCH}, n {n}, {device.type}",
                  baseline, found[baseline], found[name], _target(baseline, n, device) if name == chosen else "")
        | {"seconds": float(np.median(found[name]))}
        for baseline in [*baselines, *(["log"] if chosen != "log" else [])]
        for name in ours
        if name != baseline
    ]  # fmt: skip


def official_scale_cost(n: int) -> Tensor:
    """(128, n, n) float32: squared L2 of maps that are at least 0, have few factors and heavy tails, as a trained
    network's last map, scaled to a median of 2,750 epsilon."""
    maps: list[Tensor] = []
    for name in ("first", "second"):
        random = Key("sinkhorn benchmark", name, n).generator()
        weights = np.abs(random.normal(size=(BATCH, 8, n))) ** 1.5 * np.exp(random.normal(size=(BATCH, 1, n)))
        noise = 0.3 * random.normal(size=(BATCH, CHANNELS, n))
        maps.append(torch.from_numpy(np.maximum(random.normal(size=(BATCH, CHANNELS, 8)) @ weights + noise, 0)))
    cost = squared_l2_cost(*maps)
    return cost * (MEDIAN_COST * EPSILON / cost.median())


def textbook_loop(cost: Tensor) -> Tensor:
    """The two potentials in turns, each a log-sum-exp over the other side, batched, in the cost's dtype."""
    n, m = cost.shape[1:]
    similarity = -cost / EPSILON
    v = torch.zeros_like(cost[:, :1])
    u = torch.zeros_like(cost[:, :, :1])
    for _ in range(ITERATIONS):
        u = -math.log(n) - torch.logsumexp(similarity + v, 2, keepdim=True)
        v = -math.log(m) - torch.logsumexp(similarity + u, 1, keepdim=True)
    return torch.exp(similarity + u + v)


def _back_ends(device: torch.device, n: int) -> list[str]:
    possible: list[str] = []
    for name in ("triton", "native", "scaling", "log"):
        with contextlib.suppress(ValueError):
            possible.append(choose_back_end(device, n, n, name))
    return possible


def _solve(cost: Tensor, name: str) -> Callable[[], Tensor]:
    return lambda: sinkhorn(cost, EPSILON, ITERATIONS, back_end=name)  # pyright: ignore[reportArgumentType]


def _pot(cost: Tensor, device: torch.device) -> dict[str, Callable[[], float]]:
    """POT in NumPy float64 and in torch float32, one problem at a time, and `ot.batch` where this POT has it."""
    try:
        ot: Any = importlib.import_module("ot")
    except ImportError:
        return {}

    def one_by_one(costs: list[Any], uniform: Any) -> Callable[[], float]:
        def solve() -> None:
            for single in costs:
                ot.sinkhorn(uniform, uniform, single, EPSILON, method="sinkhorn_log", numItermax=ITERATIONS, stopThr=0,
                            warn=False)  # fmt: skip

        timed = _timed(device, solve, 1)
        return lambda: timed() * BATCH / ONE_BY_ONE

    n = cost.shape[1]
    some = list(cost[:ONE_BY_ONE])
    found = {
        "POT one by one, NumPy": one_by_one([c.cpu().double().numpy() for c in some], np.full(n, 1 / n)),
        "POT one by one, torch": one_by_one(some, torch.full((n,), 1 / n, device=device)),
    }
    if hasattr(ot, "batch"):
        found["POT batched"] = _timed(
            device,
            lambda: ot.batch.solve_batch(
                cost, EPSILON, max_iter=ITERATIONS, tol=0, method="log_sinkhorn", grad="detach"
            ),
            1,
        )
    return found


def _target(baseline: str, n: int, device: torch.device) -> str:
    if n not in (16, 49):
        return ""
    if baseline == "plain eager log loop":
        return ">= 100" if device.type == "cuda" else ">= 8"
    if baseline.startswith("POT one by one"):
        return ">= 2000" if device.type == "cuda" else ">= 200"
    return ""


def _timed(device: torch.device, work: Callable[[], object], calls: int) -> Callable[[], float]:
    clock = time.perf_counter if device.type == "cuda" else time.thread_time

    def run() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        started = clock()
        for _ in range(calls):
            work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (clock() - started) / calls

    return run


@contextlib.contextmanager
def _one_thread() -> Generator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(before)


def main() -> None:
    """Print the rows as JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    for row in rows(parser.parse_args().device):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
