"""`mixbench plan`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from collections import defaultdict
from typing import Any

from bench.cli.suite_options import store_of, suite_of
from bench.clock import duration_text
from bench.config.compute_budget import read_cost
from bench.errors import EXIT_FINE, EXIT_INCOMPLETE
from bench.records.collection import collection_paused
from bench.sweep.plan import Cost, Plan, make_plan
from bench.sweep.plan_disk import Disk, disk_of
from bench.sweep.todo import find_todo

MOST_ROWS = 100
"""Table rows that are listed; --json lists all runs."""


@collection_paused()
def run(options: argparse.Namespace) -> int:
    """Say what a suite costs; exit code 3 where some runs' cost is unknown."""
    suite, store = suite_of(options), store_of(options)
    table = None if options.speed is None else read_cost(options.speed, suite.path, suite.folders, "--speed")
    todo = find_todo(suite, store)
    plan = make_plan(
        todo, store.sessions(), suite.evals, suite.file.base, options.devices, table, options.images_per_second
    )
    disk = disk_of(todo, len(suite.evals))
    if options.json:
        print(json.dumps(as_json(plan, disk), indent=1))
    else:
        print("\n".join([f"{suite.name}: {len(todo)} runs on {options.devices}", *lines(plan, disk)]))
    return EXIT_INCOMPLETE if any(cost.seconds is None for cost in plan.costs) else EXIT_FINE


def lines(plan: Plan, disk: Disk) -> list[str]:
    """The plan in words."""
    sources = ", ".join(f"{count} by {source}" if source != "unknown" else f"{count} unknown and not counted"
                        for source, count in plan.sources.items())  # fmt: skip
    found = [
        f"  device time  {device_hours(plan):.4g} h ({sources})",
        f"  wall time    {duration_text(plan.wall_seconds)}: whole runs, one at a time on a device, the longest first; "
        f"no order takes less than {duration_text(plan.shortest_seconds)}",
    ]
    if plan.devices.machine:
        found.append(f"  measured on  {plan.devices.machine}")
    if plan.unmeasured:
        found.append(f"  not counted  evaluators never timed there: {', '.join(plan.unmeasured)}")
    kept = ", ".join(f"{kind} {size_text(size)}" for kind, size in disk.kept.items())
    by = f"{disk.measured} runs by finished ones of their cell, {disk.runs - disk.measured} by formula"
    found.append(f"  disk         {size_text(sum(disk.kept.values()))} kept: {kept} ({by})")
    found.append(f"  besides      {size_text(disk.checkpoint)} a run for its checkpoint while it goes on (formula)")
    rows: dict[tuple[str, str, str, str], list[Cost]] = defaultdict(list)
    for cost in plan.costs:
        labels = cost.spec.labels
        rows[labels.data, labels.backbone, labels.protocol, labels.method].append(cost)
    for (data, backbone, protocol, method), costs in list(rows.items())[:MOST_ROWS]:
        seconds = [cost.seconds for cost in costs if cost.seconds is not None]
        each = f"{duration_text(statistics.median(seconds))} each" if seconds else "?"
        found.append(f"  {len(costs)} x {method} ({data}, {backbone}, {protocol}): {each}, {costs[0].source}")
    if len(rows) > MOST_ROWS:
        found.append(f"  and {len(rows) - MOST_ROWS} more rows (--json lists all runs)")
    return found


def device_hours(plan: Plan) -> float:
    """Hours of one device, over all runs whose cost is known."""
    return sum(plan.known) / 3600


def as_json(plan: Plan, disk: Disk) -> dict[str, Any]:
    """The plan for programs: seconds and bytes."""
    return {
        "devices": dataclasses.asdict(plan.devices),
        "device_seconds": sum(plan.known), "wall_seconds": plan.wall_seconds,
        "shortest_seconds": plan.shortest_seconds, "sources": plan.sources, "unmeasured": list(plan.unmeasured),
        "disk_bytes": disk.kept, "checkpoint_bytes": disk.checkpoint, "disk_measured_runs": disk.measured,
        "runs": [{"labels": cost.spec.labels.model_dump(), "seed": cost.spec.seed, "run_id": cost.spec.run_id,
                  "seconds": cost.seconds, "source": cost.source} for cost in plan.costs],
    }  # fmt: skip


def size_text(count: float) -> str:
    """Bytes with three digits and a decimal unit: 850 B, 1.23 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
