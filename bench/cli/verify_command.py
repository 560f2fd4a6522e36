"""`mixbench verify`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from bench.cli.record_folder import records_folder
from bench.errors import EXIT_FINE, EXIT_REGRESSION
from bench.verify import verify_records


def run(options: argparse.Namespace) -> int:
    """One line a problem; 0 when there is none, 1 when there are some, 2 where there is nothing to verify."""
    verdict = verify_records(records_folder(options.records))
    code = EXIT_REGRESSION if verdict.problems else EXIT_FINE
    if options.json:
        found = {name: [asdict(one) for one in getattr(verdict, name)] for name in ("problems", "told")}
        print(json.dumps({"runs": verdict.runs, **found}, indent=1))
        return code
    for problem in verdict.problems:
        print(f"BAD   {problem}")
    for remark in verdict.told:
        print(f"note  {remark}")
    print(f"{verdict.runs} run(s), {len(verdict.problems)} problem(s)")
    return code
