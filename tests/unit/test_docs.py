"""The documentation is true: links lead somewhere, commands parse and name what exists, the site loads nothing."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bench.cli.main import build_parser
from bench.config.folders import ConfigFolders
from bench.config.overrides import Overrides, parse_set_options
from bench.config.suite import expand_evals, load_suite
from bench.errors import BadInput
from bench.records import Store
from bench.report import build_tables
from bench.report.terminal import table_text
from bench.sweep.chosen_runs import RUN_ID
from tests.golden.tables.example_records import make_spec, write_clean, write_run, write_session
from tests.golden.tables.robust_records import write_everything
from tests.unit.docs_pages import PAGES, ROOT, Command, anchors, commands, fences, links, prose
from tools.docs_site import loaded_from_elsewhere, source_of

COMMANDS = [command for page in PAGES for command in commands(page)]
PLACEHOLDER = re.compile(r"[A-Z]+(\|[A-Z]+)*|\.\.\..*")
"""SUITE, METHOD, RECORDS: what the reader puts in."""
WRITTEN_LATER = ("results/local/", "results/submissions/", "methods/mymix.py")
"""Paths that earlier commands of the page make."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for link in links(text):
        if re.match(r"https?://", link):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{page}: {link}"
        assert target.is_relative_to(ROOT), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{page}: {link}"


def test_there_are_commands_to_check():
    assert {command.words[0] for command in COMMANDS} >= {"run", "compare", "eval", "gate", "tune", "verify", "report"}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.page}: {command.text}"[:100])
def test_commands_parse_and_name_what_exists(command, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    problem = _problem(command)
    assert problem is None, f"{command.page}: `{command.text}`: {problem} {capsys.readouterr().err}"


@pytest.mark.parametrize(
    "text",
    [
        "mixbench run cifar11",
        "mixbench run cifar10 --set protocol.epoch=3",
        "mixbench run cifar10 --set methods=[erm,mixupp]",
        "mixbench run cifar10 --epochs 3",
        "mixbench eval cifar10 --suite robustnes",
        "mixbench eval --checkpoint net.pth --backbone resnet19 --data cifar10",
        "mixbench compare mixupp --against erm",
        "mixbench compare mixup --against none",
        "mixbench gate accept cifar11 --baseline x.json --reason new",
        "mixbench gate accuracy --baselines x.json",
        "mixbench table results/reference/nothing",
        "mixbench check methods/nothing.py",
        "mixbench runn",
        "mixbench eval --checkpoints",
        "mixbench tune cifar10",
    ],
)
def test_wrong_commands_are_found(text, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = text.split()[1:]
    assert _problem(Command("here", text, words, True)) is not None
    assert _problem(Command("here", text, words, False)) is not None or words == ["tune", "cifar10"]


def _problem(command: Command) -> str | None:
    """Why a command would not work for a reader, or None. `mymix` stands for a method of the reader's own."""
    words = [word.strip("[]") if PLACEHOLDER.fullmatch(word.strip("[]")) else word for word in command.words]
    parser = build_parser()
    if not command.whole and all(word.startswith("--") for word in words[1:]):
        return _named_only(parser, words)
    try:
        options = parser.parse_args(words)
        _look_up(options)
    except SystemExit:
        return "does not parse."
    except BadInput as error:
        return str(error)
    return None


def _named_only(parser: argparse.ArgumentParser, words: list[str]) -> str | None:
    """For text that names a command, or a command and its options, without arguments."""
    verbs = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction)).choices
    if words[0] not in verbs:
        return "no such command"
    unknown = set(words[1:]) - set(verbs[words[0]]._option_string_actions)
    return f"no option {unknown}" if unknown else None


def _look_up(options: argparse.Namespace) -> None:
    folders = ConfigFolders()
    assignments = [text.replace("mymix", "manifold_mixup") for text in getattr(options, "assignments", [])]
    given = parse_set_options(assignments)
    single = [name] if (name := getattr(options, "suite", None)) else []
    for name in [*single, *(getattr(options, "suites", None) or [])]:
        _suite(name, given, options.command)
    for name in (getattr(options, "evals", None) or "").split(","):
        if name and not PLACEHOLDER.fullmatch(name):
            expand_evals([name], folders, "--evals")
    if options.command == "eval" and options.checkpoint:
        folders.get("data", options.data, "--data")
        folders.get("backbone", options.backbone, "--backbone")
    if options.command == "compare":
        for name in (options.method, options.against or "erm"):
            if name not in ("all", "mymix") and not PLACEHOLDER.fullmatch(name):
                folders.get("method", name, "compare")
    for name in getattr(options, "paths", []):
        _path(name)


def _suite(name: str, given: Overrides, command: str) -> None:
    if PLACEHOLDER.fullmatch(name) or PLACEHOLDER.fullmatch(Path(name).stem) or name.startswith(WRITTEN_LATER):
        return
    if command == "eval" and RUN_ID.fullmatch(name):
        return
    if command == "table" and "/" in name and not name.endswith(".yaml"):
        _path(name)
        return
    load_suite(name, given)


def _path(name: str) -> None:
    if PLACEHOLDER.search(name) is None and not name.startswith(WRITTEN_LATER) and not (ROOT / name).exists():
        raise BadInput(f"{name} does not exist")


def test_the_tables_that_are_explained_are_those_that_are_printed(tmp_path):
    """Headings and notes of the example stem from this code: the same columns are printed from other records."""
    page = (ROOT / "docs" / "reading-the-tables.md").read_text(encoding="utf-8")
    shown = [
        block.text
        for block in fences(page)
        if block.text.split(" ")[0] in ("ACCURACY", "ROBUSTNESS", "THROUGHPUT") and "equal-compute" not in block.text
    ]
    for method in ("erm", "alignmix"):
        for seed in range(2):
            diagnostics = {"alignment_effect_to_first": 0.1, "alignment_effect_to_second": 0.2}
            aligned = diagnostics if method == "alignmix" else None
            folder = write_run(tmp_path, make_spec(method, seed), 0.8 + seed / 100, diagnostics=aligned)
            write_clean(folder, 0.8)
            write_everything(folder, method, 0.8)
    write_session(tmp_path, [(make_spec("erm"), [0.1] * 6), (make_spec("alignmix"), [0.2] * 6)])
    store = Store(tmp_path)
    tables = build_tables(store.runs(), store.sessions())
    assert len(shown) == 3
    for text, table in zip(shown, (tables.accuracy, tables.robustness, tables.throughput), strict=True):
        headings = {field.heading for field in table.fields}
        told = re.split(r" {2,}", text.splitlines()[1].strip())
        unknown = {
            heading for heading in told if heading not in headings and not heading.startswith(("fgsm", "corruption"))
        }
        assert not unknown, table.name
        printed = " ".join(table_text(table).split())
        for note in table.notes[:2] if table is not tables.robustness else []:
            assert note in " ".join(text.split()), table.name
            assert note in printed
    explained = re.sub(r"\s+", " ", prose(page))
    for name in (
        "ok/plan",
        "top-1 %",
        "minus erm",
        "NLL",
        "ECE % (floor)",
        "alignment",
        "best epoch",
        "clean %",
        "IQR",
    ):
        assert f"**{name}" in explained or f", {name}" in explained, name


def test_every_page_has_a_place_in_the_navigation():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    places = _places(nav)
    folders = {place for place in places if place.endswith("/")}
    for place in places:
        assert source_of(place).exists(), place
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").as_posix()
        assert name in places or f"{Path(name).parent.as_posix()}/" in folders, name


def _places(nav: object) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    inner = nav.values() if isinstance(nav, dict) else nav
    return [place for one in inner for place in _places(one)]


def test_the_site_is_whole_and_loads_nothing_from_other_hosts(tmp_path):
    made = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "docs_site.py"), str(tmp_path / "built")],
        capture_output=True, text=True, timeout=200, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    site = tmp_path / "built" / "site"
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT / "docs")).with_suffix(".html").is_file(), page
    start = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="results-README.html"' in start
    assert "fonts.googleapis" not in start
    assert loaded_from_elsewhere(site) == []


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://cdn.example/x.js"></script>',
        "<script async src=//cdn.example/x.js></script>",
        '<link href="https://fonts.example/css" rel="stylesheet">',
        '<link rel=preconnect href="https://fonts.example">',
        '<img alt="a" src="http://example/x.png">',
        "<style>@import 'https://example/x.css';</style>",
        "<style>a { background: url(//example/x.png) }</style>",
    ],
)
def test_what_a_site_loads_from_other_hosts_is_found(text, tmp_path):
    (tmp_path / "a.html").write_text(f'<a href="https://example/">fine</a>{text}')
    assert len(loaded_from_elsewhere(tmp_path)) == 1


def test_links_to_other_hosts_load_nothing(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="https://example/">fine</a><script src="own.js"></script><img src="a.png">'
    )
    assert loaded_from_elsewhere(tmp_path) == []
