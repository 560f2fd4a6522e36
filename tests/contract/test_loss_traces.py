"""Twenty steps of every method give the recorded losses.

A mismatch means that the method, or what it is made of, changed: if that was meant, bump its `version` and run
`python tests/contract/loss_traces.py NAME`.
"""

from __future__ import annotations

import json

import contract_cells
import loss_traces
import pytest
from contract_cells import make_method

from bench.config.catalogue import method_names

GOLDEN: dict[str, list[float]] = json.loads(loss_traces.FILE.read_text(encoding="utf-8"))
RELATIVE = 3e-3
"""Rounding differs between machines and versions of torch, and steps make it larger."""


@pytest.mark.parametrize("name", method_names())
def test_trace_is_the_recorded_one(name: str) -> None:
    assert loss_traces.trace(name) == pytest.approx(GOLDEN[name], rel=RELATIVE, abs=RELATIVE)


def test_no_trace_is_left_over_and_no_two_methods_have_the_same() -> None:
    assert sorted(GOLDEN) == method_names()
    assert len({tuple(losses) for losses in GOLDEN.values()}) == len(GOLDEN)


def test_a_small_change_of_a_method_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    def slightly_stronger(arm: str) -> object:
        method = make_method(arm)
        method.alpha = 1.1
        return method

    monkeypatch.setattr(contract_cells, "make_method", slightly_stronger)
    assert loss_traces.trace("mixup") != pytest.approx(GOLDEN["mixup"], rel=RELATIVE, abs=RELATIVE)
