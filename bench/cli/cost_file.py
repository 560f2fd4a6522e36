"""A cost table for equal compute from recorded step times."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.config.suite import Suite
from bench.errors import BadInput
from bench.report.table import Record, Table
from bench.report.write import replace_file

FEWEST_ROUNDS = 6
"""Below it no interval can be told, and a ratio that decides epochs needs one."""


def write_cost(throughput: Table, suite: Suite, path: Path) -> None:
    """Write the ratios of a suite's throughput table as a file for configs/cost.

    BadInput where the suite itself has fitted epochs, where a method has too few rounds, or where nothing was timed.
    Methods that skip a backbone are left out.
    """
    if suite.file.compute is not None:
        raise BadInput(f"{suite.name}: time the suite without 'compute'; its epochs are fitted already")
    newest = {rows[0]["cell"]: rows for _, rows in throughput.blocks()}  # of several builds of torch the last block
    timed = [row for rows in newest.values() for row in rows if row["rounds"]]
    for row in timed:
        if row["ratio"] is None or int(row["rounds"] or 0) < FEWEST_ROUNDS:
            what = f"{row['rounds']} rounds" if row["ratio"] is not None else f"no round with {suite.file.base}"
            raise BadInput(f"--write-cost: '{row['method']}' has {what}; time it in {FEWEST_ROUNDS} at least")
    if not timed:
        raise BadInput(f"--write-cost: {suite.name} has no step times; leave out --recorded")
    if len({(row["hardware"], row["torch"]) for row in timed}) > 1:
        raise BadInput("--write-cost: the cells were timed on different machines; choose one with --hardware")
    lines = [
        f"# Written by `mixbench speed {suite.name} --write-cost`: median step time relative to the reference's, with",
        "# its 95 % interval as a remark. Epochs of suites with `compute` follow from it, so change it only by timing.",
        _line("title", f"Step times of {suite.file.title} on {timed[0]['hardware']}"),
        _line("hardware", timed[0]["hardware"]),
        _line("torch", timed[0]["torch"]),
        _line("reference", suite.file.base),
        "cells:",
    ]
    for rows in newest.values():
        used = [row for row in rows if row["rounds"]]
        lines += _cell(used) if used else []
    replace_file(path, "\n".join([*lines, ""]).encode())


def _cell(rows: list[Record]) -> list[str]:
    first = rows[0]
    lines = [
        _line("- data", first["data"]),
        *(_line(f"  {key}", first[key]) for key in ("backbone", "protocol", "batch_size", "precision")),
        _line("  rounds", min(int(row["rounds"] or 0) for row in rows)),
        "  ratios:",
    ]
    return ["  " + line for line in [*lines, *(_ratio(row) for row in rows)]]


def _ratio(row: Record) -> str:
    line = _line(f"    {row['method']}", round(float(row["ratio"] or 0), 4))
    low, high = row["ratio_low"], row["ratio_high"]
    return line if low is None or high is None else f"{line}  # {float(low):.4f} to {float(high):.4f}"


def _line(key: str, value: Any) -> str:
    return f"{key}: {json.dumps(value)}"
