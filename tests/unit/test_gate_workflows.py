"""The composite action and the example workflows: they parse, and what they call exists with these options."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bench.cli.main import build_parser
from bench.config.overrides import parse_set_options
from bench.config.suite import load_suite
from tests.unit.docs_pages import ROOT

ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
WORKFLOWS = sorted((ROOT / "docs" / "examples").glob("*.yml"))


def steps(path: Path) -> list[dict]:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def called(given: dict[str, str], folder: Path) -> list[str]:
    """The arguments that mixbench gets when GitHub runs the action's step with these inputs."""
    inputs = {name: given.get(name, declared.get("default")) for name, declared in ACTION["inputs"].items()}
    (step,) = ACTION["runs"]["steps"]
    environment = {
        name: str(inputs[text.removeprefix("${{ inputs.").removesuffix(" }}")]) for name, text in step["env"].items()
    }
    stub = folder / "stub.py"
    stub.write_text("import sys\nprint('\\0'.join(sys.argv[1:]), end='')\n", encoding="utf-8")
    environment["MIXBENCH"] = f"{sys.executable} {stub}"
    run = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        env=os.environ | environment, cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return run.stdout.split("\0")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_call_the_action_with_inputs_it_has_and_the_action_a_command_that_exists(path, tmp_path):
    gates = [step for step in steps(path) if step.get("uses") == "./"]
    assert gates
    for step in gates:
        given = step["with"]
        assert set(given) <= set(ACTION["inputs"]), given
        assert {name for name, one in ACTION["inputs"].items() if one.get("required")} <= set(given)
        options = build_parser().parse_args(called(given, tmp_path))
        assert (options.kind, str(options.baseline)) == (given["kind"], given["baseline"])
        assert (options.run, options.github, options.suites) == (True, True, [])
        assert options.junit.name == given.get("junit", "gate.xml")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_job_gates_each_kind_once_and_keeps_what_each_wrote(path):
    gates = [step["with"] for step in steps(path) if step.get("uses") == "./"]
    reports = [one.get("junit", "gate.xml") for one in gates]
    assert len({one["kind"] for one in gates}) == len(gates) == len(set(reports))
    kept = [step["with"]["path"].split() for step in steps(path) if "upload-artifact" in step.get("uses", "")]
    assert kept
    assert all(any(Path(name).match(pattern) for pattern in kept[0]) for name in reports)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_the_commands_that_make_the_baseline_exist(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    lines = [line.lstrip("# ") for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    comment = "\n".join(lines).replace("\\\n", " ")
    commands = [shlex.split(line) for line in re.findall(r"\bmixbench ([a-z]+ [^;\n]+)", comment)]
    assert {command[0] for command in commands} >= {"run", "gate"}
    for command in commands:
        options = build_parser().parse_args(command)
        for name in getattr(options, "suites", None) or [options.suite]:
            load_suite(name, parse_set_options(options.assignments))


def test_suites_are_words_and_no_input_is_shell_code(tmp_path):
    given = {"kind": "accuracy", "baseline": "a $(touch made) b.json", "suites": "one two", "junit": "`touch made`"}
    arguments = called(given, tmp_path)
    assert arguments[-2:] == ["one", "two"]
    assert {"a $(touch made) b.json", "`touch made`"} <= set(arguments)
    assert not (tmp_path / "made").exists()
