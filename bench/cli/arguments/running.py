"""Commands that do runs, or tell what they need: `run`, `status`, `plan`, `eval`."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.cli.arguments.common import add_json, add_machine, add_set, add_suite
from bench.cli.arguments.parser import Parser
from bench.cli.arguments.texts import MISSING, add_command
from bench.cli.arguments.values import seconds, speed, timeout


def add_running(commands: argparse._SubParsersAction[Parser]) -> None:
    """The commands `run`, `status`, `plan` and `eval`."""
    add = add_command(commands, "run", "train, evaluate and time what is missing of a suite, then write its tables",
                      "mixbench run configs/suite/compare.yaml --set data=folder --set data.root=~/photos "
                      "--set backbone=convnext_tiny",
                      missing=MISSING)  # fmt: skip
    add_suite(add)
    add_machine(add)
    add.add_argument("--dry-run", action="store_true", help="print run ids and what is to be done, do nothing")
    add.add_argument("--run-timeout", type=timeout, metavar="SECONDS", help="end any single run after this time")
    add.add_argument("--no-figures", action="store_true", help="write tables only")
    add.add_argument("--on-event", action="append", default=[], metavar="MODULE:FUNCTION",
                     help="call a function with each event, see docs/events.md; repeatable")  # fmt: skip
    add.add_argument("--tensorboard", type=Path, metavar="DIR",
                     help="write TensorBoard event files (needs the extra tensorboard)")  # fmt: skip
    add.add_argument("--executor", choices=["local", "ray", "slurm"], default="local",
                     help="where runs are done: processes, a Ray cluster, SLURM jobs (default: local)")  # fmt: skip
    add.add_argument("--executor-set", action="append", default=[], metavar="KEY=VALUE", dest="executor_settings",
                     help="a setting of the executor, such as num_gpus=0.5; repeatable")  # fmt: skip

    add = add_command(commands, "status", "what of a suite is done, running, failed or waiting, and the time left",
                      "mixbench status quickstart\n  mixbench status quickstart --watch",
                      missing="runs are missing, also when Ctrl-C ends --watch")  # fmt: skip
    add_suite(add)
    one_of = add.add_mutually_exclusive_group()
    one_of.add_argument("--watch", type=seconds, nargs="?", const=5.0, metavar="SECONDS",
                        help="look again and again until all is done (default: every 5 s)")  # fmt: skip
    add_json(one_of)

    add = add_command(commands, "plan", "what a suite costs on given devices: device hours, wall time, disk",
                      "mixbench plan imagenet --devices 64xH200 --images-per-second 2600",
                      missing="the cost of some runs is not known")  # fmt: skip
    add_suite(add)
    add.add_argument("--devices", required=True, metavar="COUNTxNAME", help="how many of which, such as 64xH200; "
                     "NAME is part of the machine's name in the records")  # fmt: skip
    add.add_argument("--speed", metavar="FILE", help="cost table (`mixbench speed --write-cost`) with the methods' "
                     "step times relative to the reference's, for what was not timed on these devices")  # fmt: skip
    add.add_argument("--images-per-second", type=speed, metavar="N", help="training images a second of the reference "
                     "with --speed, else of every method, for what was not timed on these devices")  # fmt: skip
    add_json(add)

    add = add_command(commands, "eval", "evaluate finished runs, or checkpoints trained elsewhere, without training",
                      "mixbench eval quickstart --evals clean,fgsm\n"
                      "  mixbench eval 3fa9c1 --suite robustness\n"
                      "  mixbench eval --checkpoint net.pth --backbone resnet18_cifar --data cifar10 "
                      "--normalisation data --suite robustness",
                      missing=MISSING)  # fmt: skip
    add.add_argument("suite", nargs="?", metavar="SUITE|RUN", help="name or YAML file of a suite, or the id of a run")
    add_set(add)
    add_machine(add)
    add.add_argument("--evals", "--suite", metavar="NAMES", dest="evals",
                     help="evaluators or groups of them, comma-separated (default: the suite's)")  # fmt: skip
    add.add_argument("--figures", action="store_true", help="draw the figures too")
    add.add_argument("--checkpoint", action="append", type=Path, metavar="FILE",
                     help="a timm state dict trained elsewhere; repeatable, a row each")  # fmt: skip
    add.add_argument("--data", metavar="NAME", help="for --checkpoint: data to evaluate on")
    add.add_argument("--backbone", metavar="NAME", help="for --checkpoint: backbone config or timm model")
    add.add_argument("--normalisation", choices=["data", "backbone", "none"], help="for --checkpoint: mean and sd of "
                     "the data config, timm's for the backbone, or none (pixels in [0, 1])")  # fmt: skip
