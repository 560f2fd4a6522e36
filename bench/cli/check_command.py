"""`mixbench check`."""

from __future__ import annotations

import argparse
import functools
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import ValidationError

import methods
from bench.cli.record_folder import records_folder, require_runs
from bench.cli.suite_options import store_of
from bench.config.catalogue import method_facts, method_names, read_facts
from bench.config.compute_budget import read_cost
from bench.config.folders import ConfigFolders, shipped_configs
from bench.config.overrides import Overrides
from bench.config.sections import resolve_method, resolve_section
from bench.config.suite import expand_evals, load_suite
from bench.errors import EXIT_BAD_INPUT, EXIT_FINE, EXIT_REGRESSION, BadInput
from bench.evals.registry import read_arm
from bench.records import TRAIN_FILE, Store, read_record, recorded_files
from bench.records.kept import damage
from bench.spec import MethodSpec, Spec

Check = tuple[str, Callable[[], list[str]]]


def run(options: argparse.Namespace) -> int:
    """Check everything asked for, one line a problem; 0 when there is none, 1 for broken contracts or records, 2 for
    bad configs.
    """
    code = EXIT_FINE
    count = 0
    for name, check in _checks(options):
        count += 1
        try:
            problems = check()
        except BadInput as error:
            print(f"BAD  {error}")
            code = EXIT_BAD_INPUT
            continue
        for problem in problems:
            print(f"BAD  {name}: {problem}")
        if problems:
            code = code or EXIT_REGRESSION
    print(f"{count} checks" + ("" if code else ", all fine"))
    return code


def _checks(options: argparse.Namespace) -> Iterator[Check]:
    if not options.paths:
        for kind in ("data", "backbone", "protocol", "method", "eval", "evals", "cost", "suite"):
            for path in sorted((shipped_configs() / kind).glob("*.yaml")):
                yield from _config(path)
        for name in method_names():
            yield from _method(None, name, options.fast)
        yield from _records(store_of(options, indexed=False))
        return
    for given in options.paths:
        path = Path(given).expanduser()
        if not path.exists():
            raise BadInput(f"{given}: there is no such file or folder")
        if path.suffix in (".yaml", ".yml"):
            yield from _config(path)
        elif path.suffix == ".py":
            yield from _method(path.resolve(), path.stem, options.fast)
        elif path.is_dir():
            root = records_folder(path)
            require_runs(root)
            yield from _records(Store(root))
        else:
            raise BadInput(f"{given}: is neither a config (.yaml), a method (.py) nor a folder of records")


def _config(path: Path) -> Iterator[Check]:
    kind = path.resolve().parent.name
    folders = ConfigFolders(path.resolve().parent.parent)

    def check() -> list[str]:
        if kind in ("data", "backbone", "protocol"):
            resolve_section(kind, path.stem, str(path), folders, [])
        elif kind == "method":
            resolve_method(path.stem, str(path), folders, [])
        elif kind == "eval":
            read_arm(path)
        elif kind == "evals":
            expand_evals([path.stem], folders, str(path))
        elif kind == "cost":
            read_cost(str(path), path, folders, str(path))
        elif kind == "suite":
            load_suite(str(path), Overrides("--set"))
        else:
            raise BadInput(
                f"{path}: lies in none of the config folders data, backbone, protocol, method, eval, evals, cost, suite"
            )
        return []

    yield str(path), check


def _method(path: Path | None, name: str, fast: bool) -> Iterator[Check]:
    def check() -> list[str]:
        known = path is None or path.parent == Path(methods.__path__[0]).resolve()
        facts = method_facts(name) if path is None or known else read_facts(name, name, path)
        if fast:
            return []
        if not known:
            raise BadInput(f"{path}: is not in the methods folder and not installed, so its contract cannot be checked")
        from bench.run.contract import contract_problems

        spec = MethodSpec(implementation=name, parameters=facts.parameters().model_dump(), neutral=facts.neutral)
        try:
            return contract_problems(spec)
        except BadInput:
            raise
        except Exception as error:  # whatever a method under construction does
            place = traceback.extract_tb(error.__traceback__)[-1]
            words = str(error).splitlines()[0] if str(error) else ""
            return [f"{type(error).__name__}: {words} ({place.filename}:{place.lineno})"]

    yield f"method {name}", check


def _records(store: Store) -> Iterator[Check]:
    def check(folder: Path) -> list[str]:
        problems: list[str] = []
        for path in sorted(folder.glob("*.jsonl")):
            problems += [f"{path.name}: {problem}" for problem in _damaged_lines(path)]
            for line in read_record(path).lines:
                if path.name == "train.jsonl" and line["kind"] == "begin":
                    problems += _id_problems(line)
        for name, digest in recorded_files(folder / TRAIN_FILE).items():
            if damage(folder / name, digest) == "is damaged":
                problems.append(f"{name}: is damaged (its digest is not the record's)")
        return problems

    if store.root.is_dir():
        for record in store.runs():
            yield str(record.folder), lambda folder=record.folder: check(folder)
        for session in store.sessions():
            yield str(session.path), functools.partial(_damaged_lines, session.path)


def _damaged_lines(path: Path) -> list[str]:
    damaged = read_record(path).damaged
    return [f"damaged line(s) {', '.join(map(str, damaged))}"] if damaged else []


def _id_problems(begin: dict[str, object]) -> list[str]:
    try:
        spec = Spec.model_validate(begin["spec"], strict=False)
    except (ValidationError, KeyError) as error:
        return [f"its spec is not valid ({str(error).splitlines()[0]})"]
    return [] if spec.run_id == begin["run_id"] else [f"its spec gives the run id {spec.run_id}, not {begin['run_id']}"]
