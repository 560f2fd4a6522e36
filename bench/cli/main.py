"""`mixbench`: the commands, their options and exit codes. Each command imports what it needs when it runs."""

from __future__ import annotations

import argparse
import importlib
import math
import os
import sys
from pathlib import Path

from bench.errors import (
    EXIT_BAD_INPUT,
    EXIT_FINE,
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    EXIT_REGRESSION,
    BadInput,
    Incomplete,
)
from bench.records.errors import StorageError, disk_is_full

RESULTS = Path("results/local")
EXIT_CODES = "Exit codes: 0 fine, 1 regression or failed check, 2 bad input, 3 something is missing, 130 interrupted."
FULL = "the disk is full"
MISSING = f"runs are missing, or {FULL}"


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code; what a user got wrong is one line on stderr."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        command = importlib.import_module(f"bench.cli.{options.module}")
        code = command.run(options)
        sys.stdout.flush()
        return code
    except (BadInput, StorageError) as error:
        if isinstance(error, StorageError) and error.full:
            return _full(str(error))
        print(f"mixbench: {error}", file=sys.stderr)
        return EXIT_INCOMPLETE if isinstance(error, Incomplete) else EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("mixbench: interrupted; finished work is kept and the same command goes on from here", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FINE
    except OSError as error:
        if not disk_is_full(error):
            raise
        return _full(f"cannot write {error.filename or 'a file'}: {error.strerror}")


def _full(problem: str) -> int:
    print(f"mixbench: {problem}; what is finished is kept: make room and give the same command again", file=sys.stderr)
    return EXIT_INCOMPLETE


class _Parser(argparse.ArgumentParser):
    """argparse with the project's exit code and one-line errors, and options between positional arguments.

    Before Python 3.13 argparse takes an optional positional argument as left out when an option stands before it, as
    in `compare alignmix --against erm cifar10`.
    """

    _intermixing = False

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def, override]
        if self._intermixing or self._subparsers or len(self._get_positional_actions()) < 2:
            return super().parse_known_args(args, namespace)
        self._intermixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._intermixing = False

    def error(self, message: str) -> None:  # type: ignore[override]
        print(f"mixbench: {message} (see `{self.prog} --help`)", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)


def build_parser() -> argparse.ArgumentParser:
    """The parser with all commands."""
    parser = _Parser(
        prog="mixbench",
        description="Compare mixing augmentations under one training protocol.",
        epilog=f"{EXIT_CODES}\n\nStart with:\n  mixbench run configs/suite/quickstart.yaml",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mixbench {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)

    add = _command(commands, "list", "what there is: methods, suites, data, backbones, protocols, evals",
                   "mixbench list methods -v",
                   missing="")  # fmt: skip
    kinds = ["methods", "suites", "data", "backbones", "protocols", "evals"]
    add.add_argument("kind", nargs="?", choices=kinds, help="one kind only; all of them when left out")
    add.add_argument("-v", "--verbose", action="store_true", help="venue, what it mixes, what proves it, share kept, "
                     "parameters, paper and file of each method")  # fmt: skip
    add.add_argument("--family", metavar="NAME", help="only methods of this family, such as input or saliency")
    _json(add)

    add = _command(commands, "show", "a suite's resolved settings, and the file and line that each came from",
                   "mixbench show cifar10 --method alignmix --set protocol=cifar-30ep",
                   missing="")  # fmt: skip
    _suite(add)
    add.add_argument("--method", metavar="ARM", help="show this method (default: the suite's first)")
    _json(add)

    add = _command(commands, "run", "train, evaluate and time what is missing of a suite, then write its tables",
                   "mixbench run configs/suite/compare.yaml --set data=folder --set data.root=~/photos "
                   "--set backbone=convnext_tiny",
                   missing=MISSING)  # fmt: skip
    _suite(add)
    _machine(add)
    add.add_argument("--dry-run", action="store_true", help="print run ids and what is to be done, do nothing")
    add.add_argument("--run-timeout", type=_timeout, metavar="SECONDS", help="end any single run after this time")
    add.add_argument("--no-figures", action="store_true", help="write tables only")
    add.add_argument("--on-event", action="append", default=[], metavar="MODULE:FUNCTION",
                     help="call a function with each event, see docs/events.md; repeatable")  # fmt: skip
    add.add_argument("--tensorboard", type=Path, metavar="DIR",
                     help="write TensorBoard event files (needs the extra tensorboard)")  # fmt: skip
    add.add_argument("--executor", choices=["local", "ray", "slurm"], default="local",
                     help="where runs are done: processes, a Ray cluster, SLURM jobs (default: local)")  # fmt: skip
    add.add_argument("--executor-set", action="append", default=[], metavar="KEY=VALUE", dest="executor_settings",
                     help="a setting of the executor, such as num_gpus=0.5; repeatable")  # fmt: skip

    add = _command(commands, "status", "what of a suite is done, running, failed or waiting, and the time left",
                   "mixbench status quickstart\n  mixbench status quickstart --watch",
                   missing="runs are missing, also when Ctrl-C ends --watch")  # fmt: skip
    _suite(add)
    one_of = add.add_mutually_exclusive_group()
    one_of.add_argument("--watch", type=_seconds, nargs="?", const=5.0, metavar="SECONDS",
                        help="look again and again until all is done (default: every 5 s)")  # fmt: skip
    _json(one_of)

    add = _command(commands, "plan", "what a suite costs on given devices: device hours, wall time, disk",
                   "mixbench plan imagenet --devices 64xH200 --images-per-second 2600",
                   missing="the cost of some runs is not known")  # fmt: skip
    _suite(add)
    add.add_argument("--devices", required=True, metavar="COUNTxNAME", help="how many of which, such as 64xH200; "
                     "NAME is part of the machine's name in the records")  # fmt: skip
    add.add_argument("--speed", metavar="FILE", help="cost table (`mixbench speed --write-cost`) with the methods' "
                     "step times relative to the reference's, for what was not timed on these devices")  # fmt: skip
    add.add_argument("--images-per-second", type=_speed, metavar="N", help="training images a second of the reference "
                     "with --speed, else of every method, for what was not timed on these devices")  # fmt: skip
    _json(add)

    add = _command(commands, "eval", "evaluate finished runs, or checkpoints trained elsewhere, without training",
                   "mixbench eval quickstart --evals clean,fgsm\n"
                   "  mixbench eval 3fa9c1 --suite robustness\n"
                   "  mixbench eval --checkpoint net.pth --backbone resnet18_cifar --data cifar10 --normalisation data "
                   "--suite robustness",
                   missing=MISSING)  # fmt: skip
    add.add_argument("suite", nargs="?", metavar="SUITE|RUN", help="name or YAML file of a suite, or the id of a run")
    _set(add)
    _machine(add)
    add.add_argument("--evals", "--suite", metavar="NAMES", dest="evals",
                     help="evaluators or groups of them, comma-separated (default: the suite's)")  # fmt: skip
    add.add_argument("--figures", action="store_true", help="draw the figures too")
    add.add_argument("--checkpoint", action="append", type=Path, metavar="FILE",
                     help="a timm state dict trained elsewhere; repeatable, a row each")  # fmt: skip
    add.add_argument("--data", metavar="NAME", help="for --checkpoint: data to evaluate on")
    add.add_argument("--backbone", metavar="NAME", help="for --checkpoint: backbone config or timm model")
    add.add_argument("--normalisation", choices=["data", "backbone", "none"], help="for --checkpoint: mean and sd of "
                     "the data config, timm's for the backbone, or none (pixels in [0, 1])")  # fmt: skip

    add = _command(commands, "speed", "time the training steps of a suite's methods, interleaved in one process",
                   "mixbench speed cifar10 --rounds 50 --processes 5\n  mixbench speed cifar10 --scaling",
                   missing="step times are missing, or the disk is full")  # fmt: skip
    _suite(add)
    _machine(add)
    add.add_argument("--rounds", type=int, metavar="N", help="rounds (default: the suite's, else 20)")
    add.add_argument("--processes", type=_positive, metavar="N", help="fresh processes, a session each; from 5 on the "
                     "intervals are over processes (default: the suite's, else 1)")  # fmt: skip
    add.add_argument("--scaling", action="store_true",
                     help="time other batch sizes, image sizes and stages instead")  # fmt: skip
    add.add_argument("--write-cost", type=Path, metavar="FILE",
                     help="write the ratios as a cost table for suites with equal compute")  # fmt: skip
    add.add_argument("--recorded", action="store_true", help="take the step times on record, time nothing")

    add = _command(commands, "tune", "as many trials for every method, chosen on validation images, then fresh runs",
                   "mixbench tune cifar10 --trials 16 --set data.validation=0.1",
                   missing=MISSING)  # fmt: skip
    _suite(add)
    _machine(add)
    add.add_argument("--trials", type=_positive, required=True, metavar="N", help="trials of each method; the first "
                     "is its default")  # fmt: skip
    add.add_argument("--sampler", choices=["random", "qmc"], default="random",
                     help="independent draws, or a scrambled Sobol sequence (default: random)")  # fmt: skip
    add.add_argument("--seed", type=int, default=90001, metavar="N", help="seed of all trials, none of the suite's "
                     "(default: 90001)")  # fmt: skip
    add.add_argument("--run-timeout", type=_timeout, metavar="SECONDS", help="end any single run after this time")

    add = _command(commands, "table", "write a suite's tables again from its records",
                   "mixbench table quickstart --figures\n  mixbench table results/reference/NAME --check",
                   failed="a table is not what the records give")  # fmt: skip
    add.add_argument("suite", metavar="SUITE|RECORDS", help="name or YAML file of a suite, or a folder of records")
    _set(add)
    add.add_argument("-o", "--output", type=Path, metavar="DIR", help="where to (default: RESULTS/tables/SUITE; for a "
                     "folder of records: tables beside it)")  # fmt: skip
    add.add_argument("--figures", action="store_true", help="draw the figures too")
    for kind in ("data", "backbone", "family"):
        add.add_argument(f"--{kind}", action="append", default=[], metavar="NAME",
                         help=f"only rows of this {kind}; repeatable")  # fmt: skip
    add.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file is not what records give")
    _json(add)

    add = _command(commands, "report", "one HTML page that needs no network: leaderboard, charts, gallery, protocol",
                   "mixbench report quickstart -o report/\n"
                   "  mixbench report results/reference/NAME -o report/")  # fmt: skip
    add.add_argument("suites", nargs="*", metavar="SUITE|RECORDS",
                     help="names or YAML files of suites, or folders of records (default: all records)")  # fmt: skip
    _set(add)
    add.add_argument("-o", "--output", type=Path, default=Path("report"), metavar="DIR",
                     help="where index.html is written (default: report)")  # fmt: skip
    add.add_argument("--no-gallery", action="store_true", help="without mixed images, which need torch and the data")

    add = _command(commands, "gallery", "draw what each method makes of the same image pairs, with its labels",
                   "mixbench gallery --data folder32 --set data.root=~/photos -o gallery.png")  # fmt: skip
    add.add_argument("--data", default="digits", metavar="NAME", help="data config (default: digits)")
    add.add_argument("--backbone", default="test_resnet", metavar="NAME",
                     help="backbone config or timm model, untrained (default: test_resnet)")  # fmt: skip
    add.add_argument("--methods", metavar="NAMES", help="arms, comma-separated (default: one arm an implementation)")
    add.add_argument("--images", type=int, default=6, metavar="N", help="images in a line (default: 6)")
    add.add_argument("--masks", action="store_true", help="also draw the share of the first image at each pixel")
    _set(add)
    add.add_argument("-o", "--output", type=Path, default=Path("gallery.png"), metavar="FILE",
                     help="PNG to write (default: gallery.png)")  # fmt: skip

    add = _command(commands, "compare", "methods head to head against a base, from records",
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
    _results(add)
    _json(add)

    add = _command(commands, "gate", "compare new runs with a stored baseline, for CI; `accept` writes one",
                   "mixbench gate accuracy --baseline results/baselines/main.json --run\n"
                   "  mixbench gate accept cifar10 --baseline results/baselines/main.json --reason New",
                   failed="regression", missing="neither that nor fine: see the verdict")  # fmt: skip
    _gate(add)

    add = _command(commands, "export", "a finished run's weights as a plain timm state dict in safetensors",
                   "mixbench export 3fa9c1 -o net.safetensors")  # fmt: skip
    add.add_argument("run_id", metavar="RUN", help="id of the run, or how it begins (see `mixbench run --dry-run`)")
    add.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="where to; ends in .safetensors")
    add.add_argument("--best", action="store_true", help="the best validation epoch's weights, not the last epoch's")
    _results(add)
    _json(add)

    add = _command(commands, "check", "validate configs, methods and records without training",
                   "mixbench check methods/mymix.py",
                   failed="a broken method or record", missing="")  # fmt: skip
    add.add_argument("paths", nargs="*", metavar="PATH",
                     help="config files, method files, record folders (default: everything)")  # fmt: skip
    add.add_argument("--fast", action="store_true", help="leave out the methods' contract, which imports torch")
    _results(add)

    add = _command(commands, "verify", "check submitted records before they enter a board",
                   "mixbench verify submissions/them/records",
                   failed="the records cannot enter a board", missing="")  # fmt: skip
    add.add_argument("records", type=Path, metavar="RECORDS", help="a folder of records, or one that holds `records`")
    _json(add)

    add = _command(commands, "new", "write a working method file and its config to start from",
                   "mixbench new mymix")  # fmt: skip
    add.add_argument("name", help="name of the method: small letters, digits, underscores")

    add = commands.add_parser("worker")
    add.set_defaults(module="worker")
    add = commands.add_parser("rank")
    add.add_argument("folder", type=Path)
    add.set_defaults(module="rank")
    return parser


def _command(  # type: ignore[no-untyped-def]
    commands, name: str, summary: str, example: str, failed: str = "", missing: str = FULL
) -> argparse.ArgumentParser:
    """A command of its own module. failed, missing: what exit codes 1 and 3 mean, "" where there is none."""
    added = _described(commands, name, summary, example, failed, missing)
    added.set_defaults(module=f"{name}_command")
    return added


def _described(  # type: ignore[no-untyped-def]
    commands, name: str, summary: str, example: str, failed: str, missing: str
) -> argparse.ArgumentParser:
    meanings = {EXIT_FINE: "fine", EXIT_REGRESSION: failed, EXIT_BAD_INPUT: "bad input", EXIT_INCOMPLETE: missing,
                EXIT_INTERRUPTED: "interrupted"}  # fmt: skip
    codes = ", ".join(f"{code} {meaning}" for code, meaning in meanings.items() if meaning)
    return commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"Exit codes: {codes}.\n\nExample:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _gate(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True, parser_class=_Parser)
    summaries = {kind: f"compare {kind} with the baseline's" for kind in ("accuracy", "robustness", "speed")}
    file = "--baseline results/baselines/main.json"
    for kind, summary in {**summaries, "accept": "make the current code's runs the new baseline"}.items():
        if kind == "accept":
            example = f"mixbench gate accept cifar10 {file} --reason 'First baseline'"
            add = _described(kinds, kind, summary, example, "", MISSING)
        else:
            example = f"mixbench gate {kind} {file} --run"
            add = _described(kinds, kind, summary, example, "regression", "neither that nor fine: see the verdict")
        add.add_argument("suites", nargs="*", metavar="SUITE", help="suites by name or file (default: the baseline's)")
        add.add_argument("--baseline", type=Path, required=True, metavar="FILE", help="the stored baseline, JSON")
        add.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments",
                         help="a setting or an axis of the suites to change; repeatable")  # fmt: skip
        _results(add)
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
        _machine(add)


def _suite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("suite", metavar="SUITE", help="name of a suite or path of its YAML file")
    _set(parser)


def _set(parser: argparse.ArgumentParser) -> None:
    help_text = "a setting (protocol.epochs=3) or an axis (backbone=resnet50) to change; repeatable"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments", help=help_text)
    parser.add_argument("--hardware", metavar="TEXT", help="part of the name of the machine whose step times to show")
    _results(parser)


def _results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR",
                        help=f"where records, tables and figures are (default: {RESULTS})")  # fmt: skip


def _machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--workers", type=_positive, metavar="N", help="worker processes (default: one a GPU or core)")
    parser.add_argument("--threads", type=_positive, metavar="N", help="CPU threads a worker")


def _json(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON on stdout")


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not '{text}'")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.1 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"must be a number of seconds from 0.1 to 86400, not '{text}'")
    return seconds


def _timeout(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, not '{text}'")
    return seconds


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0 < speed < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not '{text}'")
    return speed


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("mixbench")
    except PackageNotFoundError:
        return "(not installed)"
