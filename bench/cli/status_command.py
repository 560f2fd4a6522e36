"""`mixbench status`."""

from __future__ import annotations

import argparse
import json
from collections import Counter

from bench.cli.suite_options import store_of, suite_of
from bench.errors import EXIT_FINE, EXIT_INCOMPLETE
from bench.sweep.todo import find_todo


def run(options: argparse.Namespace) -> int:
    """Say what is done, failed and missing."""
    suite = suite_of(options)
    todo = find_todo(suite, store_of(options))
    status = {item.spec.run_id: item.record.status if item.record else "not started" for item in todo}
    if options.json:
        rows = [
            {"run_id": item.spec.run_id, "labels": item.spec.labels.model_dump(), "seed": item.spec.seed,
             "status": status[item.spec.run_id], "need": item.need, "why": item.why,
             "reason": item.record.reason if item.record else ""}
            for item in todo
        ]  # fmt: skip
        print(json.dumps(rows, indent=1))
    else:
        counts = Counter("done" if item.need == "nothing" else item.need for item in todo)
        print(
            f"{suite.name}: {len(todo)} runs; " + ", ".join(f"{count} {need}" for need, count in sorted(counts.items()))
        )
        for item in todo:
            if item.need != "nothing" or status[item.spec.run_id] != "ok":
                reason = item.record.reason if item.record and item.record.reason else item.why
                print(f"  {status[item.spec.run_id]:12} {item.need:9} {item.name}: {reason}")
    complete = all(item.need == "nothing" and status[item.spec.run_id] in ("ok", "skipped") for item in todo)
    return EXIT_FINE if complete else EXIT_INCOMPLETE
