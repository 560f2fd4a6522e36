"""The examples of docs/events.md take every kind of event, and the page names every kind and key."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from bench.sweep.listeners import EVENTS

TEXT = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
EXAMPLES = dict(re.findall(r"```python\n((?:import|from) (\w+)\n?.*?)```", TEXT, re.S))
OWN = {"run_id": "a1", "seed": 3, "labels": {"method": "erm"}}
TOLD = [
    {"event": "run_started", "spec": {"seed": 3}, **OWN},
    {"event": "epoch", "epoch": 1, "train_loss": 0.5, "test": {"top1": 0.25}, **OWN},
    {"event": "metric", "evaluator": "clean", "name": "nll", "value": 1.5, "detail": {}, **OWN},
    {"event": "metric", "evaluator": "clean", "name": "gap", "value": None, "detail": {}, **OWN},
    {"event": "run_ended", "status": "ok", **OWN},
    {"event": "sweep_ended"},
]


def played(package: str, monkeypatch) -> MagicMock:
    stand_in = MagicMock()
    monkeypatch.setitem(sys.modules, package, stand_in)
    (code,) = [code for code, name in EXAMPLES.items() if name == package]
    space: dict = {}
    exec(compile(code, package, "exec"), space)
    for event in TOLD:
        space["follow"](dict(event))
    assert space["runs"] == {}
    return stand_in


def test_the_page_names_every_event():
    assert re.findall(r"^\| `(\w+)` \|", TEXT, re.M) == ["event", *EVENTS]


def test_weights_and_biases(monkeypatch):
    run = played("wandb", monkeypatch).init.return_value
    run.log.assert_called_once_with({"loss": 0.5, "test": {"top1": 0.25}}, step=1)
    assert [call.args for call in run.summary.__setitem__.call_args_list] == [
        ("clean/nll/{}", 1.5),
        ("clean/gap/{}", None),
    ]
    run.finish.assert_called_once_with(exit_code=0)


def test_mlflow(monkeypatch):
    client = played("mlflow", monkeypatch).MlflowClient.return_value
    name = client.create_run.return_value.info.run_id
    client.create_run.assert_called_once_with("0", run_name="erm-3")
    assert [call.args for call in client.log_metric.call_args_list] == [(name, "loss", 0.5), (name, "clean/nll", 1.5)]
    client.set_terminated.assert_called_once_with(name, "FINISHED")


@pytest.mark.parametrize("package", ["wandb", "mlflow"])
def test_examples_are_short(package):
    (code,) = [code for code, name in EXAMPLES.items() if name == package]
    assert code.index("def follow") < 80
    assert len(code[code.index("def follow") :].splitlines()) <= 10
