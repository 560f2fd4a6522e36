"""`mixbench report`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.cli.record_folder import in_place_of_a_suite
from bench.cli.suite_options import store_of
from bench.cli.tables import folder_tables, suite_tables
from bench.config.overrides import Overrides, parse_set_options
from bench.config.suite import Suite, load_suite
from bench.errors import EXIT_FINE, BadInput
from bench.page import Gallery, Part, write_page
from bench.records import Store
from bench.records.collection import collection_paused
from bench.report import Tables
from bench.sweep.sweep import require_records

ALL = "All records"


@collection_paused()
def run(options: argparse.Namespace) -> int:
    """Write the page of some suites, of folders of records, or of all records; from records alone."""
    folders = {name: root for name in options.suites if (root := in_place_of_a_suite(name)) is not None}
    suites = _suites(options, [name for name in options.suites if name not in folders])
    parts = [_part(_name(root), folder_tables(Store(root), options.hardware)) for root in folders.values()]
    if suites or not folders:
        store = store_of(options)
        require_records(store)
        parts += [_part(suite.name, suite_tables(suite, store, options.hardware)) for suite in suites]
        parts = parts or [_part(ALL, folder_tables(store, options.hardware))]
    roots = {one.spec.labels.data: one.spec.data.root for suite in suites for one in suite.planned}
    gallery = [] if options.no_gallery else _gallery(parts, roots)
    print(write_page(parts, options.output, gallery))
    return EXIT_FINE


def _suites(options: argparse.Namespace, names: list[str]) -> list[Suite]:
    if options.assignments and not names:
        raise BadInput("--set: changes a suite, and none is given; name it after report")
    given = parse_set_options(options.assignments)
    return [load_suite(name, Overrides(given.source, given.axes, given.keys)) for name in names]


def _part(name: str, tables: Tables) -> Part:
    """Tables under their title; under `name` where they have none."""
    return Part(tables.about.title or name, tables, tables.about.note)


def _name(root: Path) -> str:
    return (root.parent if root.name == "records" else root).resolve().name


def _gallery(parts: list[Part], roots: dict[str, str | None]) -> list[Gallery]:
    """The galleries of all parts; says on stderr why one is missing. torch is imported here and nowhere else."""
    from bench.page.gallery import galleries

    found: list[Gallery] = []
    for part in parts:
        made, missing = galleries(part.tables, roots)
        found += [gallery for gallery in made if gallery.title not in {one.title for one in found}]
        for line in missing:
            print(line, file=sys.stderr)
    return found
