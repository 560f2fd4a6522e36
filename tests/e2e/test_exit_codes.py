"""Exit codes of every command: help, bad input, no results, some results, all results, damage, Ctrl-C, a full disk."""

from __future__ import annotations

import errno
import importlib
import re
import shutil

import pytest

from bench.cli.main import build_parser, main

MACHINE = ("--device", "cpu", "--workers", "1", "--threads", "1")
DATA_AND_NET = ("--data", "digits", "--backbone", "test_resnet")
BASELINE = ("--baseline", "new.json", "--reason", "x")
KINDS = ("accuracy", "robustness", "speed", "accept")
PLAN = ("plan", "tiny", "--devices", "1xH200")

BAD = [
    (), ("nonsense",), ("list", "method"), ("list", "--family", "inputt"), ("show", "tinny"), ("run", "tinny"), ("run",),
    ("run", "tiny", "--executor", "slrum"), ("run", "tiny", "--executor", "slurm", "--executor-set", "tme=5"),
    ("run", "tiny", "--dry-run", "--executor-set", "lease_seconds=.nan"), ("run", "tiny", "--run-timeout", "-1"),
    ("run", "tiny", "--run-timeout", "nan"), ("status", "tinny"),
    ("status", "tiny", "--watch", "0"), ("plan", "tinny", "--devices", "1xH200"), ("plan", "tiny", "--devices", "H200"),
    ("eval", "tinny"), ("eval",), ("eval", "--checkpoint", "none.pth", *DATA_AND_NET), ("speed", "tinny"),
    ("speed", "tiny", "--rounds", "0"), ("tune", "tinny", "--trials", "2"), ("tune", "tiny", "--trials", "0"),
    ("table", "tinny"), ("table", "nothing-here"), ("report", "tinny"), ("gallery", "--data", "digitz"),
    ("gallery", "--images", "0"), ("compare", "mixupp", "tiny"), ("compare", "mixup", "tinny"),
    ("compare", "mixup", "tiny", "--metric", "nope"), ("gate",), ("gate", "acuracy"),
    *(("gate", kind, "--baseline", "none.json") for kind in KINDS), ("export", "zz", "-o", "x.safetensors"),
    ("export", "zz", "-o", "x.pt"), ("check", "configs/suite/none.yaml"), ("check", "nothing-here"),
    ("verify", "nowhere"), ("verify", "nothing-here"), ("new", "mixup"), ("new", "Not A Name"),
]  # fmt: skip
STATES = [
    # nothing is on record
    ("none", 0, ("run", "tiny", "--dry-run")), ("none", 3, ("status", "tiny")), ("none", 2, PLAN),
    ("none", 3, ("eval", "tiny", *MACHINE)), ("none", 3, ("speed", "tiny", "--recorded")), ("none", 2, ("table", "tiny")),
    ("none", 2, ("report", "tiny")), ("none", 2, ("compare", "mixup", "tiny")), ("none", 2, ("gate", "accept", "tiny", *BASELINE)),
    ("none", 2, ("export", "ab", "-o", "x.safetensors")),
    # one seed of four is missing
    ("some", 0, ("run", "tiny", "--dry-run")), ("some", 3, ("status", "tiny")), ("some", 3, ("status", "tiny", "--json")),
    ("some", 3, ("eval", "tiny", *MACHINE)), ("some", 0, ("table", "tiny")), ("some", 0, ("report", "tiny", "--no-gallery")),
    ("some", 0, ("compare", "mixup", "tiny")), ("some", 3, ("gate", "accept", "tiny", *BASELINE)),
    # all is there
    ("all", 0, ("list",)), ("all", 0, ("show", "tiny")), ("all", 0, ("run", "tiny", "--no-figures", *MACHINE)),
    ("all", 0, ("status", "tiny")), ("all", 0, ("status", "tiny", "--watch")), ("all", 2, PLAN),
    ("all", 0, (*PLAN, "--images-per-second", "100")), ("all", 0, ("eval", "tiny", *MACHINE)),
    ("all", 3, ("speed", "tiny", "--recorded")), ("all", 0, ("table", "tiny")), ("all", 0, ("table", "tiny", "--check")),
    ("all", 0, ("table", "results/local/records", "-o", "elsewhere")), ("all", 0, ("report", "tiny", "--no-gallery")),
    ("all", 0, ("compare", "mixup", "tiny")), ("all", 0, ("gate", "accept", "tiny", *BASELINE)),
    ("all", 0, ("gate", "accuracy", "--baseline", "new.json")), ("all", 3, ("gate", "speed", "--baseline", "new.json")),
    ("all", 0, ("check", "results/local/records")), ("all", 0, ("verify", "results/local/records")),
    ("all", 0, ("gallery", "--images", "2", "--methods", "mixup")),
    # something was altered
    ("damaged", 1, ("table", "tiny", "--check")), ("damaged", 1, ("verify", "results/local/records")),
    ("damaged", 1, ("check", "results/local/records")),
]  # fmt: skip


def commands() -> list[str]:
    actions = [action for action in build_parser()._actions if hasattr(action, "choices") and action.dest == "command"]
    return [name for name in actions[0].choices if name not in ("worker", "rank")]  # type: ignore[union-attr]


def code_of(*arguments: str) -> int:
    try:
        return main(list(arguments))
    except SystemExit as left:  # argparse
        return int(left.code or 0)


def help_of(capsys, *words: str) -> str:
    assert code_of(*words, "--help") == 0
    return capsys.readouterr().out


def told(capsys, *words: str) -> set[int]:
    """The exit codes that a help text names."""
    (line,) = re.findall(r"^Exit codes: (.*)\.$", help_of(capsys, *words), re.MULTILINE)
    return {int(part.split()[0]) for part in re.split(r", (?=\d)", line)}


@pytest.fixture(scope="module")
def made(make_mixbench):
    """Three seeds of a suite, done and evaluated."""
    mixbench = make_mixbench()
    suite = mixbench.folder / "configs" / "suite" / "tiny.yaml"
    suite.write_text(suite.read_text().replace("seeds: 2", "seeds: 3") + "speed: none\n")
    done = mixbench("run", "tiny", "--no-figures", *MACHINE)
    assert done.returncode == 0, done.stderr
    return mixbench.folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    """A copy of it, in which commands are given in this process."""
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize(
    "words", [(), *((name,) for name in commands()), *(("gate", kind) for kind in KINDS)], ids=" ".join
)
def test_help_tells_exit_codes_and_ends_with_an_example(capsys, words):
    text = help_of(capsys, *words)
    assert told(capsys, *words) >= {0, 2, 130}
    assert text.strip().splitlines()[-1].strip().startswith(" ".join(["mixbench", *words]))


@pytest.mark.parametrize("arguments", BAD, ids=" ".join)
def test_bad_input_is_one_line_and_2(mixbench, monkeypatch, capsys, arguments):
    monkeypatch.chdir(mixbench.folder)
    (mixbench.folder / "nothing-here").mkdir()
    assert code_of(*arguments) == 2
    found = capsys.readouterr()
    assert found.err.startswith("mixbench: ")
    assert len(found.err.strip().splitlines()) == 1


@pytest.mark.parametrize("state", ["none", "some", "all", "damaged"])
def test_codes_by_what_is_on_record(folder, capsys, state):
    if state == "none":
        shutil.rmtree(folder / "results")
    if state == "damaged":
        table = folder / "results" / "local" / "tables" / "tiny" / "accuracy.csv"
        table.write_text(table.read_text().replace("mixup", "mixdown", 1))
        record = next((folder / "results" / "local" / "records").glob("*/*/train.jsonl"))
        record.write_bytes(record.read_bytes().replace(b'"epoch":1', b'"epoch":3', 1))
    more = ("--set", "seeds=4") if state == "some" else ()
    for expected, arguments in [(code, arguments) for when, code, arguments in STATES if when == state]:
        code = code_of(*arguments, *more)
        found = capsys.readouterr()
        assert code == expected, (arguments, found.err)
        words = arguments[:2] if arguments[0] == "gate" else arguments[:1]
        assert code in told(capsys, *words), arguments
        assert "Traceback" not in found.err


@pytest.mark.parametrize(("timed", "code"), [(True, 0), (False, 3)])
def test_a_sweep_that_lacks_nothing_but_step_times_is_incomplete(folder, monkeypatch, capsys, timed, code):
    monkeypatch.setattr(importlib.import_module("bench.cli.run_command"), "run_sweep", lambda *_: ([], timed))
    assert code_of("run", "tiny", "--no-figures", *MACHINE) == code


@pytest.mark.parametrize("name", commands())
def test_an_interrupt_and_a_full_disk_are_one_line(name, capsys, monkeypatch):
    module = importlib.import_module(f"bench.cli.{name}_command")
    arguments = {
        "show": ["x"], "run": ["x"], "status": ["x"], "plan": ["x", "--devices", "1xA"], "speed": ["x"],
        "tune": ["x", "--trials", "1"], "table": ["x"], "compare": ["x"], "verify": ["x"], "new": ["x"],
        "gate": ["speed", "--baseline", "x"], "export": ["x", "-o", "x.safetensors"],
    }.get(name, [])  # fmt: skip

    def ends_with(error: BaseException) -> tuple[int, list[str]]:
        def run(options):
            raise error

        monkeypatch.setattr(module, "run", run)
        return main([name, *arguments]), capsys.readouterr().err.splitlines()

    code, lines = ends_with(KeyboardInterrupt())
    assert (code, len(lines)) == (130, 1)
    code, lines = ends_with(OSError(errno.ENOSPC, "No space left on device", "x.csv"))
    assert code == 3
    assert lines == ["mixbench: cannot write x.csv: No space left on device; what is finished is kept: make room and "
                     "give the same command again"]  # fmt: skip
    with pytest.raises(PermissionError):  # a fault of mixbench, not of the user, is not hidden
        ends_with(PermissionError(errno.EACCES, "x"))
