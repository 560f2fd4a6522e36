"""The chance of a false regression that a baseline states is the one by which studies are judged."""

from __future__ import annotations

import json

import pytest

from bench.errors import BadInput
from bench.gate import check
from bench.gate.baseline import read_baseline, write_baseline
from bench.gate.decision import Rule
from bench.gate.power import baseline_power
from bench.records import Store
from tests.golden.tables.example_records import make_spec
from tests.unit.gate_examples import baseline_of, entry_of, rerun

BEFORE = [0.900, 0.902, 0.898, 0.904, 0.896, 0.903, 0.897, 0.901, 0.899, 0.900]
ERM = make_spec("erm", 0)


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """The answer about one new seed that is `drop` worse, under a baseline with this alpha."""

    def answer(alpha: float, drop: float):
        candidate = rerun(tmp_path / str(drop), [make_spec("erm", 77)], [0.9 - drop])
        monkeypatch.setattr(check, "find_candidates", lambda *_: [candidate])
        monkeypatch.setattr(check, "_suites", lambda *_: [])
        path = tmp_path / f"{alpha}.json"
        write_baseline(path, baseline_of([entry_of(ERM, BEFORE)]).model_copy(update={"alpha": alpha}))
        return check.gate("accuracy", path, [], Store(tmp_path / "records"))

    return answer


def test_a_drop_between_the_limits_of_two_alphas(judged):
    """d = -0.75 points with a standard error of 0.274: t = -2.7 at 9 degrees of freedom, p = 0.012."""
    loose, strict = judged(0.05, 0.0075), judged(0.01, 0.0075)
    assert (loose.verdict, strict.verdict) == ("regression", "inconclusive")
    assert "at most 5 % of studies" in loose.limit
    assert "at most 1 % of studies" in strict.limit
    assert judged(0.01, 0.02).verdict == "regression"


def test_a_file_without_alpha_means_five_percent(tmp_path):
    path = tmp_path / "baseline.json"
    write_baseline(path, baseline_of([entry_of(ERM, BEFORE)]))
    plain = json.loads(path.read_text())
    assert plain.pop("alpha") == 0.05
    path.write_text(json.dumps(plain))
    assert read_baseline(path).alpha == 0.05
    for alpha in (0, 0.5, "0.05", None):
        path.write_text(json.dumps({**plain, "alpha": alpha}))
        with pytest.raises(BadInput, match="alpha: "):
            read_baseline(path)


def test_a_stricter_gate_finds_less():
    (loose,), (strict,) = (baseline_power([entry_of(ERM, BEFORE)], Rule(alpha)) for alpha in (0.05, 0.01))
    assert strict.drop > 1.2 * loose.drop
