"""A pytest fixture that gates: import it in a conftest.py, `from bench.gate.pytest_fixture import mixbench_gate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bench.gate.check import gate
from bench.gate.rows import Kind, Outcome
from bench.gate.terminal import outcome_text
from bench.records import Store
from bench.sweep.lock import results_lock
from bench.sweep.options import Options

RESULTS = Path("results/local")
Gate = Callable[..., Outcome]


@pytest.fixture
def mixbench_gate() -> Gate:
    """A function that gates and fails the test with the table of answers unless everything passes.

    gate(kind, baseline, *suites, assignments=(), results=RESULTS, run=True, device="auto", workers=None) returns the
    `Outcome`. kind: "accuracy", "robustness" or "speed". Without suites those of the baseline; assignments as of
    `--set`; run: train what is missing. Bad input raises `bench.errors.BadInput`.
    """

    def gated(
        kind: Kind, baseline: str | Path, *suites: str, assignments: Sequence[str] = (), results: Path = RESULTS,
        run: bool = True, device: str = "auto", workers: int | None = None,
    ) -> Outcome:  # fmt: skip
        store = Store(results / "records")
        if run:
            with results_lock(results) as lock:
                machine = Options(device, workers, lock=lock)
                outcome = gate(kind, Path(baseline), suites, store, assignments, machine)
        else:
            outcome = gate(kind, Path(baseline), suites, store, assignments)
        if outcome.exit_code:
            pytest.fail(outcome_text(outcome), pytrace=False)
        return outcome

    return gated
