"""`gate` and its kinds."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.cli.arguments.common import add_machine, add_results
from bench.cli.arguments.parser import Parser
from bench.cli.arguments.texts import MISSING, add_command, described


def add_gating(commands: argparse._SubParsersAction[Parser]) -> None:
    """`gate` with a command of its own for each kind."""
    add = add_command(commands, "gate", "compare new runs with a stored baseline, for CI; `accept` writes one",
                      "mixbench gate accuracy --baseline results/baselines/main.json --run\n"
                      "  mixbench gate accept cifar10 --baseline results/baselines/main.json --reason New",
                      failed="regression", missing="neither that nor fine: see the verdict")  # fmt: skip
    _kinds(add)


def _kinds(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True, parser_class=Parser)
    summaries = {kind: f"compare {kind} with the baseline's" for kind in ("accuracy", "robustness", "speed")}
    file = "--baseline results/baselines/main.json"
    for kind, summary in {**summaries, "accept": "make the current code's runs the new baseline"}.items():
        if kind == "accept":
            example = f"mixbench gate accept cifar10 {file} --reason 'First baseline'"
            add = described(kinds, kind, summary, example, "", MISSING)
        else:
            example = f"mixbench gate {kind} {file} --run"
            add = described(kinds, kind, summary, example, "regression", "neither that nor fine: see the verdict")
        add.add_argument("suites", nargs="*", metavar="SUITE", help="suites by name or file (default: the baseline's)")
        add.add_argument("--baseline", type=Path, required=True, metavar="FILE", help="the stored baseline, JSON")
        add.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments",
                         help="a setting or an axis of the suites to change; repeatable")  # fmt: skip
        add_results(add)
        if kind == "accept":
            add.add_argument("--reason", required=True, metavar="TEXT", help="why this baseline is right")
            add.add_argument("--margin", type=float, default=0.5, metavar="POINTS",
                             help="smallest drop of accuracy that matters (default: 0.5)")  # fmt: skip
            add.add_argument("--robustness-margin", type=float, metavar="POINTS",
                             help="the same for robustness (default: that of accuracy)")  # fmt: skip
            add.add_argument("--alpha", type=float, default=0.05, metavar="CHANCE",
                             help="chance of a false regression when nothing has changed (default: 0.05)")  # fmt: skip
            add.add_argument("--recorded", action="store_true", help="take finished runs whatever code made them")
            continue
        add.add_argument("--run", action="store_true", help="train, evaluate or time what the decision needs")
        add.add_argument("--json", type=Path, metavar="FILE", help="write all numbers as JSON")
        add.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML")
        add.add_argument("--github", action="store_true", help="append the table to GitHub's step summary")
        add_machine(add)
