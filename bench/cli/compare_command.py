"""`mixbench compare`."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap

from bench.cli.record_folder import in_place_of_a_suite
from bench.cli.suite_about import suite_about
from bench.cli.suite_options import store_of, suite_of
from bench.errors import EXIT_FINE, BadInput
from bench.records import Store
from bench.report.about import About, read_about
from bench.report.announced import announced
from bench.report.head_to_head import HeadToHead, head_to_head
from bench.report.head_to_head_tables import cells_table, overall_table, plain_data
from bench.report.head_to_head_words import sentences
from bench.report.study import REFERENCE, Study, arrange
from bench.report.terminal import WIDTH, head_text, table_text
from bench.sweep.sweep import require_records


def run(options: argparse.Namespace) -> int:
    """Compare one method, or all, with a base, from records alone."""
    if options.seed < 0:
        raise BadInput(f"--seed: must be a whole number from 0, not {options.seed}")
    study, name, head = _study(options)
    found = head_to_head(study, options.method, options.metric, options.seed)
    if options.figures:
        from bench.report.figures.head_to_head import write_head_to_head

        folder = options.results / "figures" / name
        for path in write_head_to_head(found, folder):
            print(f"written: {path}", file=sys.stderr)
    if options.json:
        print(json.dumps(plain_data(found, head), indent=1))
    else:
        print(head_text(head), end="")
        _print(found)
    return EXIT_FINE


def _study(options: argparse.Namespace) -> tuple[Study, str, About]:
    """A suite's runs, its missing ones too, its name and what stands at the head; or all records of a folder, else of
    `--results`.
    """
    root = in_place_of_a_suite(options.suite, options.assignments) if options.suite is not None else None
    if root is not None:
        missing = announced(root)
        return arrange(Store(root).runs(), None, options.against or REFERENCE, missing), "compare", read_about(root)
    store = store_of(options)
    require_records(store)
    if options.suite is None:
        if options.assignments:
            raise BadInput("--set: changes a suite, and none is given; name it after METHOD")
        return arrange(store.runs(), None, options.against or REFERENCE), "compare", read_about(store.root)
    from bench.sweep.todo import find_todo

    suite = suite_of(options)
    todo = find_todo(suite, store)
    records = [item.record for item in todo if item.record is not None]
    study = arrange(records, [item.spec for item in todo], options.against or suite.file.base)
    return study, suite.name, suite_about(suite)


def _print(found: HeadToHead) -> None:
    overall = overall_table(found)
    for table in (cells_table(found), *([overall] if overall else [])):
        print(table_text(table))
    for line in [*sentences(found), *(f"Missing: {text}." for text in found.missing), *found.study.notes]:
        print(textwrap.fill(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False))
