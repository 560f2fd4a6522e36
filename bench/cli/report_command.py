"""`mixbench report`."""

from __future__ import annotations

import argparse
import sys

from bench.cli.suite_options import store_of
from bench.cli.tables import suite_tables
from bench.config.overrides import Overrides, parse_set_options
from bench.config.suite import Suite, load_suite
from bench.errors import EXIT_FINE, BadInput
from bench.page import Gallery, Part, write_page
from bench.records import Store
from bench.report import build_tables
from bench.sweep.sweep import require_records

ALL = "All records"


def run(options: argparse.Namespace) -> int:
    """Write the page of some suites, or of all records, from records alone."""
    store = store_of(options)
    require_records(store)
    suites = _suites(options)
    parts = [Part(_title(suite), suite_tables(suite, store, options.hardware), suite.file.note) for suite in suites]
    if not suites:
        parts = [_everything(store, options.hardware)]
    roots = {one.spec.labels.data: one.spec.data.root for suite in suites for one in suite.planned}
    gallery = [] if options.no_gallery else _gallery(parts, roots)
    print(write_page(parts, options.output, gallery))
    return EXIT_FINE


def _suites(options: argparse.Namespace) -> list[Suite]:
    if options.assignments and not options.suites:
        raise BadInput("--set: changes a suite, and none is given; name it after report")
    given = parse_set_options(options.assignments)
    return [load_suite(name, Overrides(given.source, given.axes, given.keys)) for name in options.suites]


def _everything(store: Store, hardware: str | None) -> Part:
    """All records as one part; without a plan the step times of several machines need one to be named."""
    return Part(ALL, build_tables(store.runs(), store.sessions(), hardware=hardware))


def _title(suite: Suite) -> str:
    return suite.file.title or suite.name


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
