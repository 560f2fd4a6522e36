"""`speed` and `tune`."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.cli.arguments.common import add_machine, add_suite
from bench.cli.arguments.parser import Parser
from bench.cli.arguments.texts import MISSING, add_command
from bench.cli.arguments.values import positive, timeout


def add_timing(commands: argparse._SubParsersAction[Parser]) -> None:
    """The commands `speed` and `tune`."""
    add = add_command(commands, "speed", "time the training steps of a suite's methods, interleaved in one process",
                      "mixbench speed cifar10 --rounds 50 --processes 5\n  mixbench speed cifar10 --scaling",
                      missing="step times are missing, or the disk is full")  # fmt: skip
    add_suite(add)
    add_machine(add)
    add.add_argument("--rounds", type=int, metavar="N", help="rounds (default: the suite's, else 20)")
    add.add_argument("--processes", type=positive, metavar="N", help="fresh processes, a session each; from 5 on the "
                     "intervals are over processes (default: the suite's, else 1)")  # fmt: skip
    add.add_argument("--scaling", action="store_true",
                     help="time other batch sizes, image sizes and stages instead")  # fmt: skip
    add.add_argument("--write-cost", type=Path, metavar="FILE",
                     help="write the ratios as a cost table for suites with equal compute")  # fmt: skip
    add.add_argument("--recorded", action="store_true", help="take the step times on record, time nothing")

    add = add_command(commands, "tune", "as many trials for every method, chosen on validation images, then fresh runs",
                      "mixbench tune cifar10 --trials 16 --set data.validation=0.1",
                      missing=MISSING)  # fmt: skip
    add_suite(add)
    add_machine(add)
    add.add_argument("--trials", type=positive, required=True, metavar="N", help="trials of each method; the first "
                     "is its default")  # fmt: skip
    add.add_argument("--sampler", choices=["random", "qmc"], default="random",
                     help="independent draws, or a scrambled Sobol sequence (default: random)")  # fmt: skip
    add.add_argument("--seed", type=int, default=90001, metavar="N", help="seed of all trials, none of the suite's "
                     "(default: 90001)")  # fmt: skip
    add.add_argument("--run-timeout", type=timeout, metavar="SECONDS", help="end any single run after this time")
