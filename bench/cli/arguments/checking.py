"""`export`, `check`, `verify` and `new`."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.cli.arguments.common import add_json, add_results
from bench.cli.arguments.parser import Parser
from bench.cli.arguments.texts import add_command


def add_checking(commands: argparse._SubParsersAction[Parser]) -> None:
    """The commands `export`, `check`, `verify` and `new`."""
    add = add_command(commands, "export", "a finished run's weights as a plain timm state dict in safetensors",
                      "mixbench export 3fa9c1 -o net.safetensors")  # fmt: skip
    add.add_argument("run_id", metavar="RUN", help="id of the run, or how it begins (see `mixbench run --dry-run`)")
    add.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="where to; ends in .safetensors")
    add.add_argument("--best", action="store_true", help="the best validation epoch's weights, not the last epoch's")
    add_results(add)
    add_json(add)

    add = add_command(commands, "check", "validate configs, methods and records without training",
                      "mixbench check methods/mymix.py",
                      failed="a broken method or record", missing="")  # fmt: skip
    add.add_argument("paths", nargs="*", metavar="PATH",
                     help="config files, method files, record folders (default: everything)")  # fmt: skip
    add.add_argument("--fast", action="store_true", help="leave out the methods' contract, which imports torch")
    add_results(add)

    add = add_command(commands, "verify", "check submitted records before they enter a board",
                      "mixbench verify submissions/them/records",
                      failed="the records cannot enter a board", missing="")  # fmt: skip
    add.add_argument("records", type=Path, metavar="RECORDS", help="a folder of records, or one that holds `records`")
    add_json(add)

    add = add_command(commands, "new", "write a working method file and its config to start from",
                      "mixbench new mymix")  # fmt: skip
    add.add_argument("name", help="name of the method: small letters, digits, underscores")
