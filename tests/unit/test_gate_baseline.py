"""The baseline file: a round trip, and what is refused in one line."""

from __future__ import annotations

import json

import pytest

from bench.errors import BadInput
from bench.gate.baseline import read_baseline, write_baseline
from bench.gate.power import baseline_power
from tests.golden.tables.example_records import make_spec
from tests.unit.gate_examples import baseline_of, entry_of

VALUES = [0.9, 0.91, 0.905]


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "folder" / "baseline.json"
    write_baseline(file, baseline_of([entry_of(make_spec("erm"), VALUES), entry_of(make_spec("mixup"), VALUES)]))
    return file


def test_what_is_written_is_read_and_the_same_bytes_come_again(path, tmp_path):
    read = read_baseline(path)
    assert [run.value for run in read.accuracy[0].runs] == VALUES
    write_baseline(tmp_path / "again.json", read)
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def changed(plain, keys, value):
    place = plain
    for key in keys[:-1]:
        place = place[key]
    if value is None:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    return json.dumps(plain)


@pytest.mark.parametrize(
    ("keys", "value", "told"),
    [
        (("accuracy", 0, "runs", 1, "value"), 1.2, "accuracy.0.runs.1.value: Input should be less than or equal to 1"),
        (("accuracy", 0, "runs", 1, "value"), float("nan"), "accuracy.0.runs.1.value"),
        (("accuracy", 0, "runs", 1, "value"), "0.9", "accuracy.0.runs.1.value"),
        (("accuracy", 0, "runs", 1, "seed"), 0, "accuracy.0: a seed stands twice"),
        (("accuracy", 0, "runs"), [], "accuracy.0.runs"),
        (("accuracy", 0, "spec", "protocol", "epochs"), 3, "the spec does not give the arm's id"),
        (("accuracy", 0, "arm"), "../../../etc", "accuracy.0.arm"),
        (("reason",), "", "reason"),
        (("margins", "accuracy"), 0, "margins.accuracy"),
        (("extra",), 1, "extra"),
        (("kind",), "something else", "kind"),
        (("schema_version",), 2, "has schema version 2, this mixbench reads 1"),
        (("suites",), None, "suites: Field required"),
    ],
)
def test_each_kind_of_damage_is_one_line(path, keys, value, told):
    path.write_text(changed(json.loads(path.read_text()), keys, value))
    with pytest.raises(BadInput) as caught:
        read_baseline(path)
    message = str(caught.value)
    assert told in message
    assert message.startswith(str(path))
    assert "\n" not in message


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"\xff\xfe", b"[" * 100_000, b'"text"'])
def test_what_is_no_baseline_at_all(path, content):
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"is not JSON|is no baseline") as caught:
        read_baseline(path)
    assert "\n" not in str(caught.value)


def test_a_row_twice_and_no_file(path, tmp_path):
    plain = json.loads(path.read_text())
    plain["accuracy"][1] = plain["accuracy"][0]
    path.write_text(json.dumps(plain))
    with pytest.raises(BadInput, match="stands twice"):
        read_baseline(path)
    with pytest.raises(BadInput, match="no such baseline"):
        read_baseline(tmp_path / "none.json")


def test_power_of_a_single_row_against_simulation():
    """The drop that is said to be found with probability 0.8 is found so often by the last look's test."""
    import numpy as np
    from scipy import stats

    generator = np.random.default_rng(6)
    values = generator.normal(0.9, 0.003, 10).round(4).tolist()
    (power,) = baseline_power([entry_of(make_spec("erm"), values)])
    assert power.spread == pytest.approx(100 * np.std(values, ddof=1))
    base = generator.normal(0, 1, (20_000, 10))
    new = generator.normal(-power.drop / power.spread, 1, (20_000, 5))
    error = base.std(axis=1, ddof=1) * np.sqrt(1 / 5 + 1 / 10)
    found = (new.mean(axis=1) - base.mean(axis=1)) / error < stats.t.ppf(0.05 / 3, 9)
    assert found.mean() == pytest.approx(0.8, abs=0.01)


def test_power_of_a_row_that_scatters_more_than_the_others_counts_its_own_spread():
    """Through the rule, every study with a baseline of its own; a spread that Bartlett's test does not notice."""
    import numpy as np

    from bench.gate.decision import REGRESSION, decide

    methods, sd = ["erm", "mixup", "cutmix", "augmix", "manifold_mixup"], np.array([0.5, 0.3, 0.3, 0.3, 0.3])
    normal = np.linspace(-1.5, 1.5, 10)
    normal /= normal.std(ddof=1)
    base = np.stack([90 + one * np.roll(normal, 3 * place) for place, one in enumerate(sd)], axis=1)
    power = baseline_power(
        [entry_of(make_spec(name), (base[:, place] / 100).tolist()) for place, name in enumerate(methods)]
    )[0]
    generator = np.random.default_rng(8)
    before = 90 + generator.standard_normal((4000, 10, 5)) * sd
    after = 90 + generator.standard_normal((4000, 5, 5)) * sd
    after[..., 0] -= power.drop
    found = decide(after, before, np.full(5, 0.1), [0] * 5, np.full(5, 0.01)).code[:, 0] == REGRESSION
    assert 0.65 < found.mean() < 0.9, "two tests at once find a little less than the stricter of them"
