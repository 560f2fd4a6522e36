"""`mixbench table`."""

from __future__ import annotations

import argparse
import json

from bench.cli.suite_options import store_of, suite_of
from bench.cli.tables import suite_tables, write_and_print
from bench.report import write_tables
from bench.sweep.sweep import require_records


def run(options: argparse.Namespace) -> int:
    """Write a suite's tables from its records, without training anything."""
    suite = suite_of(options)
    store = store_of(options)
    require_records(store)
    tables = suite_tables(suite, store, options.hardware)
    if options.json:
        write_tables(tables, options.output or options.results / "tables" / suite.name)
        print(json.dumps({table.name: table.rows for table in tables.all}, indent=1))
        return 0
    write_and_print(suite, tables, options.results, options.figures, options.output)
    return 0
