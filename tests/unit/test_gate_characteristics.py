"""The tables of docs/gate.md, recomputed in part; every simulated study goes through the real decision code."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.gate.decision import FEWEST_OF_ITS_OWN

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import gate_characteristics as tool  # noqa: E402

ALPHA, STUDIES = 0.05, 10_000
LIMIT = ALPHA + 3 * (ALPHA * (1 - ALPHA) / STUDIES) ** 0.5


def table(name: str) -> list[list[str]]:
    page = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    text = page.split(f"<!-- {name}: begin -->")[1].split(f"<!-- {name}: end -->")[0]
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.strip().splitlines()][2:]


def near(shown: str, computed: str) -> bool:
    """Equal but for what another NumPy's random numbers may change: 2 points are four errors of a difference."""
    pairs = zip(shown.split("/"), computed.split("/"), strict=True)
    return all(abs(float(one) - float(two)) <= 2.0 for one, two in pairs)


@pytest.mark.parametrize("place", [0, 7, 10])
def test_rows_of_the_page_are_what_the_rule_does(place):
    settings = list(tool.operating_settings())[place]
    row = table("operating characteristics")[place]
    setting = settings[0]
    assert row[:3] == [str(setting.arms), str(setting.margin), str(setting.sd)]
    for shown, each in list(zip(row[3:], settings, strict=False))[: 2 if place == 10 else 4]:
        found = tool.simulate(each)
        shares, seeds = shown.split(", ")
        assert near(shares, tool.shares(found))
        assert abs(float(seeds) - found.seeds) <= 0.1


def test_the_page_has_every_setting():
    assert len(table("operating characteristics")) == len(list(tool.operating_settings())) == 24
    assert len(table("false alarms")) == len(list(tool.false_alarm_settings()))


def test_false_regressions_on_the_page_stay_within_alpha_and_three_errors():
    unchanged = [row[3].split(",")[0].split("/")[1] for row in table("operating characteristics")]
    assumptions = [row[4] for row in table("false alarms") if row[2] == "x 1" or int(row[3]) >= FEWEST_OF_ITS_OWN]
    assert max(map(float, [*unchanged, *assumptions])) <= 100 * LIMIT + 0.05


@pytest.mark.parametrize(
    "setting",
    [
        tool.Setting(0.3, 0.5, 1),
        tool.Setting(0.45, 0.5, 5),
        tool.Setting(0.3, 0.5, 5, correlation=0.8),
        tool.Setting(0.15, 0.5, 5, base_seeds=3),
        tool.Setting(0.3, 0.5, 20, wide=2.0),
    ],
)
def test_false_regressions_recomputed(setting):
    assert tool.simulate(setting, STUDIES).regressed <= LIMIT


def test_large_drops_are_found():
    assert tool.simulate(tool.Setting(0.2, 0.5, 5, 1.0), 2000).regressed > 0.98
    assert tool.simulate(tool.Setting(0.2, 0.5, 5, 1.0, everywhere=True), 2000).regressed > 0.98
