"""`list` and `show`: what there is and what a suite is set to."""

from __future__ import annotations

import argparse

from bench.cli.arguments.common import add_json, add_suite
from bench.cli.arguments.parser import Parser
from bench.cli.arguments.texts import add_command


def add_looking(commands: argparse._SubParsersAction[Parser]) -> None:
    """The commands `list` and `show`."""
    add = add_command(commands, "list", "what there is: methods, suites, data, backbones, protocols, evals",
                      "mixbench list methods -v",
                      missing="")  # fmt: skip
    kinds = ["methods", "suites", "data", "backbones", "protocols", "evals"]
    add.add_argument("kind", nargs="?", choices=kinds, help="one kind only; all of them when left out")
    add.add_argument("-v", "--verbose", action="store_true", help="venue, what it mixes, what proves it, share kept, "
                     "parameters, paper and file of each method")  # fmt: skip
    add.add_argument("--family", metavar="NAME", help="only methods of this family, such as input or saliency")
    add_json(add)

    add = add_command(commands, "show", "a suite's resolved settings, and the file and line that each came from",
                      "mixbench show cifar10 --method alignmix --set protocol=cifar-30ep",
                      missing="")  # fmt: skip
    add_suite(add)
    add.add_argument("--method", metavar="ARM", help="show this method (default: the suite's first)")
    add_json(add)
