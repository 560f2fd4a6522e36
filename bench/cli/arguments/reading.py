"""Commands that read records: `table`, `report`, `gallery`, `compare`."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.cli.arguments.common import add_json, add_results, add_set
from bench.cli.arguments.parser import Parser
from bench.cli.arguments.texts import add_command


def add_reading(commands: argparse._SubParsersAction[Parser]) -> None:
    """The commands `table`, `report`, `gallery` and `compare`."""
    add = add_command(commands, "table", "write a suite's tables again from its records",
                      "mixbench table quickstart --figures\n  mixbench table results/reference/NAME --check",
                      failed="a table is not what the records give")  # fmt: skip
    add.add_argument("suite", metavar="SUITE|RECORDS", help="name or YAML file of a suite, or a folder of records")
    add_set(add)
    add.add_argument("-o", "--output", type=Path, metavar="DIR", help="where to (default: RESULTS/tables/SUITE; for a "
                     "folder of records: tables beside it)")  # fmt: skip
    add.add_argument("--figures", action="store_true", help="draw the figures too")
    for kind in ("data", "backbone", "family"):
        add.add_argument(f"--{kind}", action="append", default=[], metavar="NAME",
                         help=f"only rows of this {kind}; repeatable")  # fmt: skip
    add.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file is not what records give")
    add_json(add)

    add = add_command(commands, "report", "one HTML page that needs no network: leaderboard, charts, gallery, protocol",
                      "mixbench report quickstart -o report/\n"
                      "  mixbench report results/reference/NAME -o report/")  # fmt: skip
    add.add_argument("suites", nargs="*", metavar="SUITE|RECORDS",
                     help="names or YAML files of suites, or folders of records (default: all records)")  # fmt: skip
    add_set(add)
    add.add_argument("-o", "--output", type=Path, default=Path("report"), metavar="DIR",
                     help="where index.html is written (default: report)")  # fmt: skip
    add.add_argument("--no-gallery", action="store_true", help="without mixed images, which need torch and the data")

    add = add_command(commands, "gallery", "draw what each method makes of the same image pairs, with its labels",
                      "mixbench gallery --data folder32 --set data.root=~/photos -o gallery.png")  # fmt: skip
    add.add_argument("--data", default="digits", metavar="NAME", help="data config (default: digits)")
    add.add_argument("--backbone", default="test_resnet", metavar="NAME",
                     help="backbone config or timm model, untrained (default: test_resnet)")  # fmt: skip
    add.add_argument("--methods", metavar="NAMES", help="arms, comma-separated (default: one arm an implementation)")
    add.add_argument("--images", type=int, default=6, metavar="N", help="images in a line (default: 6)")
    add.add_argument("--masks", action="store_true", help="also draw the share of the first image at each pixel")
    add_set(add)
    add.add_argument("-o", "--output", type=Path, default=Path("gallery.png"), metavar="FILE",
                     help="PNG to write (default: gallery.png)")  # fmt: skip

    add = add_command(commands, "compare", "methods head to head against a base, from records",
                      "mixbench compare alignmix --against erm cifar10 --metric nll")  # fmt: skip
    add.add_argument("method", metavar="METHOD", help="name of a method, or all")
    add.add_argument("suite", nargs="?", metavar="SUITE|RECORDS",
                     help="suite, or folder of records, whose runs are compared (default: all records)")  # fmt: skip
    add.add_argument("--against", metavar="BASE", help="method to compare with (default: the suite's base, else erm)")
    add.add_argument("--metric", default="top1", metavar="NAME", help="a column of the tables, such as nll or "
                     "'corruption mean' (default: top1)")  # fmt: skip
    add.add_argument("--seed", type=int, default=20260102, metavar="N", help="seed of the bootstrap over cells and "
                     "seeds (default: 20260102)")  # fmt: skip
    add.add_argument("--figures", action="store_true", help="draw the figures too")
    add.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments",
                     help="a setting or an axis of the suite to change; repeatable")  # fmt: skip
    add_results(add)
    add_json(add)
