"""`mixbench table`."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from pathlib import Path

from bench.cli.record_folder import in_place_of_a_suite
from bench.cli.suite_options import store_of, suite_of
from bench.cli.tables import folder_tables, known_families, suite_tables, write_and_print
from bench.errors import EXIT_FINE, EXIT_REGRESSION, BadInput
from bench.records import Store
from bench.records.collection import collection_paused
from bench.report import Tables, print_tables, write_tables
from bench.report.json_tables import tables_json
from bench.report.slices import Slice, sliced
from bench.report.write import table_differences
from bench.sweep.sweep import require_records


def run(options: argparse.Namespace) -> int:
    """Write the tables of a suite or of a folder of records, or compare files with them; nothing is trained."""
    with contextlib.nullcontext() if options.figures else collection_paused():  # drawing leaves reference cycles
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    chosen = Slice(options.data, options.backbone, options.family)
    families = known_families()
    root = in_place_of_a_suite(options.suite, options.assignments)
    suite = None
    if root is not None:
        tables, folder = folder_tables(Store(root), options.hardware), root.parent / "tables"
    else:
        suite = suite_of(options)
        store = store_of(options)
        require_records(store)
        tables, folder = suite_tables(suite, store, options.hardware), options.results / "tables" / suite.name
    if chosen.name:
        tables, folder = sliced(tables, chosen, families), folder / chosen.name
    folder = options.output or folder
    if options.check:
        return _check(tables, folder, families)
    if options.json:
        write_tables(tables, folder, families)
        print(tables_json(tables), end="")
    elif suite is not None:
        own = folder if options.output or chosen.name else None
        write_and_print(suite, tables, options.results, options.figures, own)
    else:
        paths = write_tables(tables, folder, families)
        if options.figures:
            from bench.report.figures import write_figures

            paths += write_figures(tables, folder)
        print_tables(tables)
        print("\nWritten:", *paths, sep="\n  ")
    return EXIT_FINE


def _check(tables: Tables, folder: Path, families: Mapping[str, str]) -> int:
    if not folder.is_dir():
        raise BadInput(f"{folder}: there are no tables to check")
    problems = table_differences(tables, folder, families)
    for problem in problems:
        print(problem)
    print(f"{folder}: " + (f"{len(problems)} file(s) differ" if problems else "what the records give, byte for byte"))
    return EXIT_REGRESSION if problems else EXIT_FINE
