"""Write a suite's tables and figures and print them."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.cli.suite_about import suite_about
from bench.config.catalogue import method_facts, method_names
from bench.config.suite import Suite
from bench.records import Store
from bench.records.collection import collection_paused
from bench.report import Tables, build_tables, print_tables, write_tables
from bench.report.about import read_about
from bench.report.announced import announced
from bench.report.throughput_sessions import belongs_to
from bench.sweep.todo import find_todo


def suite_tables(suite: Suite, store: Store, hardware: str | None = None) -> Tables:
    """The tables of exactly the suite's runs, missing ones shown as missing; says which runs are stale.

    hardware: part of the name of the machine whose step times are shown, where several machines timed the suite.
    """
    todo = find_todo(suite, store)
    cells = {item.spec.cell for item in todo}
    sessions = [session for session in store.sessions() if belongs_to(session) in cells]
    if hardware is None and sessions:
        hardware = str(sessions[-1].begin.get("hardware"))
        others = {str(session.begin.get("hardware")) for session in sessions} - {hardware}
        if others:
            print(
                f"step times are of {hardware}; choose with --hardware: {' | '.join(sorted(others))}", file=sys.stderr
            )
    stale = [item for item in todo if item.why.startswith("stale")]
    if stale:
        print(
            f"{len(stale)} run(s) were made by older code and are shown as they are; `mixbench run` makes them anew",
            file=sys.stderr,
        )
    records, plan = [item.record for item in todo if item.record is not None], [item.spec for item in todo]
    with collection_paused():
        return build_tables(records, sessions, plan, suite.file.base, hardware, suite_about(suite))


def folder_tables(store: Store, hardware: str | None = None) -> Tables:
    """The tables of all records of a folder, with what its about.yaml says and the missing runs of its planned.jsonl.

    hardware: part of the name of the machine whose step times are shown; where several timed them, it has to be given.
    """
    head, missing = read_about(store.root), announced(store.root)
    return build_tables(store.runs(), store.sessions(), hardware=hardware, about=head, announced=missing)


def known_families() -> dict[str, str]:
    """By implementation the family of every method that is installed here."""
    return {name: method_facts(name).family for name in method_names()}


def write_and_print(suite: Suite, tables: Tables, results: Path, figures: bool, output: Path | None = None) -> None:
    """Tables to OUTPUT or RESULTS/tables/SUITE, figures beside them; then everything to stdout, with the paths."""
    folder = output or results / "tables" / suite.name
    paths = write_tables(tables, folder, known_families())
    if figures:
        from bench.report.figures import write_figures

        paths += write_figures(tables, output or results / "figures" / suite.name)
    print_tables(tables)
    print("\nWritten:")
    for path in paths:
        print(f"  {path}")
