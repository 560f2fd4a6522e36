"""The pytest fixture, used as a project would."""

from __future__ import annotations

import pytest

from bench.gate import pytest_fixture
from bench.gate.pytest_fixture import mixbench_gate  # noqa: F401
from bench.gate.rows import Outcome, Row


@pytest.mark.parametrize("verdict", ["pass", "regression", "inconclusive"])
def test_the_fixture_fails_with_the_table_unless_all_passes(mixbench_gate, monkeypatch, tmp_path, verdict):  # noqa: F811
    asked = []

    def answer(*arguments):
        asked.append(arguments)
        return Outcome("accuracy", "b.json", "limit", [Row("cell", "erm", "arm", "top1", verdict, "why")])

    monkeypatch.setattr(pytest_fixture, "gate", answer)
    if verdict == "pass":
        assert mixbench_gate("accuracy", "b.json", "suite", results=tmp_path).exit_code == 0
    else:
        with pytest.raises(pytest.fail.Exception, match=verdict):
            mixbench_gate("accuracy", "b.json", "suite", results=tmp_path, run=False)
    (kind, _, suites, store, _, *machine) = asked[0]
    assert (kind, suites, store.root) == ("accuracy", ("suite",), tmp_path / "records")
    assert bool(machine) == (verdict == "pass")
