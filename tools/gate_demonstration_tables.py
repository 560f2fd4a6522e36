"""What the demonstration of the gate came to: the outcome as JSON values, and the tables of docs/gate.md made of it."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.gate.baseline import read_baseline
from bench.gate.decision import RULE, Rule
from bench.gate.measures import accuracy
from bench.gate.power import baseline_power
from bench.records import RunRecord, Store
from tools.gate_characteristics import Characteristics, replaced, shares
from tools.gate_demonstration_expected import Situation, Values, example, expected

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "gate.md"
BASELINE = ROOT / "results" / "baselines" / "digits.json"
OUTCOME = ROOT / "results" / "reference" / "gate-demonstration" / "outcome.json"
SUBTLE = "unclipped cutmix"
PLANNED = 10
"""Trees of each kind."""
LAST_LOOK = RULE.looks[-1]
SEEDS_OF_A_KIND = PLANNED * LAST_LOOK
VERDICTS = ("pass", "regression", "inconclusive")
ROW_FIELDS = ("method", "verdict", "reason", "before", "after", "change", "low", "high", "p", "n_before", "n_after")
PROVENANCE = ("git_commit", "python", "platform", "packages", "torch_build", "processor", "threads")


def collected(
    folder: Path, answers: Sequence[tuple[str, list[int], dict[str, Any]]], digests: dict[str, dict[str, str]],
    changed: dict[str, str], planned: dict[str, int],
) -> dict[str, Any]:  # fmt: skip
    """The outcome: verdicts, all runs, what each fault costs, and how often the rule should have found the subtle one.

    answers: name of the tree, its seeds, and the gate's JSON. digests: of each tree's methods. changed: by fault the
    method that it changes. planned: by tree how many studies. Runs are told apart by their source digests.
    """
    records = [record for record in Store(folder / "results" / "records").runs() for record in _all(folder, record)]
    base = [record for record in Store(folder / "baseline" / "records").runs() if record.status == "ok"]
    runs = {"baseline": _values(base, digests["unchanged"])}
    runs["unchanged"] = _values(records, digests["unchanged"])
    runs |= {fault: _values(records, {method: digests[fault][method]}) for fault, method in changed.items()}
    stored = read_baseline(folder / "baseline.json")
    rule = Rule(stored.alpha)
    powers = baseline_power(stored.accuracy, rule)
    spreads = {power.entry.labels.method: power.spread for power in powers}
    studies = [_study(name, seeds, changed.get(name, ""), answer) for name, seeds, answer in answers]
    healthy = {
        method: [*values.values(), *_whatever_came_out(runs["unchanged"][method])]
        for method, values in runs["baseline"].items()
    }
    effects = {
        fault: _effect(healthy[method], chosen)
        for fault, method in changed.items()
        if len(chosen := _whatever_came_out(runs[fault][method])) > 1
    }
    situation = Situation(
        runs["baseline"], healthy, spreads, stored.margins.accuracy, rule, stored.accuracy[0].test_images
    )
    return {
        "kind": "mixbench gate demonstration",
        "suite": stored.suites[0].name,
        "margin": stored.margins.accuracy,
        "alpha": stored.alpha,
        "test_images": situation.test_images,
        "provenance": {key: base[0].provenance.get(key) for key in PROVENANCE},
        "source_digests": digests,
        "baseline": {
            power.entry.labels.method: {
                "mean": statistics.fmean(runs["baseline"][power.entry.labels.method].values()),
                "own_spread": statistics.stdev(runs["baseline"][power.entry.labels.method].values()),
                "spread": power.spread,
                "finds": power.drop,
            }
            for power in powers
        },
        "planned": planned,
        "studies": studies,
        "runs": runs,
        "effects": effects,
        "expected": expected(situation, effects.get(SUBTLE), changed[SUBTLE]),
        "example": example(situation),
    }


def _all(folder: Path, record: RunRecord) -> list[RunRecord]:
    attempts = Store(folder / "results" / "records").attempts(record.run_id)
    return [attempt for attempt in attempts if attempt.status == "ok"]


def _values(records: Sequence[RunRecord], digests: dict[str, str]) -> Values:
    found: Values = {method: {} for method in digests}
    for record in records:
        method = record.labels["method"]
        measure = accuracy(record)
        if measure is not None and digests.get(method) == record.source_digest:
            found[method][int(record.spec["seed"])] = 100 * measure.value
    return {method: dict(sorted(values.items())) for method, values in found.items()}


def _study(name: str, seeds: list[int], changed: str, answer: dict[str, Any]) -> dict[str, Any]:
    rows = [{field: row[field] for field in ROW_FIELDS} for row in answer["rows"]]
    mean = {field: answer["mean"][field] for field in ("verdict", "change", "p")}
    return {"tree": name, "changed": changed, "seeds": seeds, "verdict": answer["verdict"],
            "exit_code": answer["exit_code"], "rows": rows, "mean": mean}  # fmt: skip


def _whatever_came_out(faulty: dict[int, float]) -> list[float]:
    """Values of the runs whose training did not hang on a verdict: all where none is missing, else the first looks'."""
    complete = len(faulty) == SEEDS_OF_A_KIND
    return [value for seed, value in faulty.items() if complete or seed % LAST_LOOK == 0]


def _effect(healthy: Sequence[float], values: Sequence[float]) -> dict[str, Any]:
    """What a fault costs, with Welch's standard error."""
    error = math.sqrt(statistics.variance(healthy) / len(healthy) + statistics.variance(values) / len(values))
    return {
        "healthy": statistics.fmean(healthy), "healthy_runs": len(healthy), "faulty": statistics.fmean(values),
        "faulty_runs": len(values), "faulty_spread": statistics.stdev(values),
        "change": statistics.fmean(values) - statistics.fmean(healthy), "standard_error": error,
    }  # fmt: skip


def trees_table(outcome: dict[str, Any]) -> str:
    """Verdicts by kind of tree, and what each fault costs."""
    heads = ["trees", "done", "pass / regression / open", "changed row", "new seeds a row", "true change", "runs"]
    lines = [_line(heads), _line(["---"] * len(heads))]
    by_tree: dict[str, list[dict[str, Any]]] = {}
    for name in outcome["planned"]:
        by_tree[name] = [study for study in outcome["studies"] if study["tree"] == name]
    for name, studies in by_tree.items():
        rows = [row for study in studies for row in study["rows"]]
        effect = outcome["effects"].get(name)
        change = f"{effect['change']:+.2f} +- {effect['standard_error']:.2f}" if effect else ""
        own = [row for study in studies for row in study["rows"] if row["method"] == study["changed"]]
        lines.append(
            _line(
                [name, f"{len(studies)} of {outcome['planned'][name]}", _counts(studies), _counts(own) if own else "",
                 f"{statistics.fmean(row['n_after'] for row in rows):.1f}" if rows else "", change,
                 f"{effect['faulty_runs']} and {effect['healthy_runs']}" if effect else ""]
            )
        )  # fmt: skip
    return "\n".join(lines)


def expected_table(outcome: dict[str, Any]) -> str:
    """How ten studies of the subtle fault, and ten of unchanged trees, should come out, and did."""
    lines = [_line(["in ten studies", "pass / regression / open"]), _line(["---"] * 2)]
    chances = outcome["expected"]
    for tree, key, words in (("unchanged", "no change", "unchanged"), (SUBTLE, "measured", SUBTLE)):
        if key not in chances:
            continue
        at = chances[key]
        told = "" if key == "no change" else f", drop {at['drop']:.2f}"
        lines.append(_line([f"{words}{told}: stated, every study with a baseline of its own", _tens(at["stated"])]))
        lines.append(_line([f"{words}{told}: expected with this one baseline", _tens(at["this baseline"])]))
        lines.append(_line([f"{words}{told}: the same, values drawn from the healthy runs", _tens(at["as scattered"])]))
        if key != "no change":
            for end in ("two errors less", "two errors more"):
                at = chances[end]
                words_end = f"{words}, drop {at['drop']:.2f} ({end}): expected with this one baseline"
                lines.append(_line([words_end, _tens(at["this baseline"])]))
        found = [study for study in outcome["studies"] if study["tree"] == tree]
        lines.append(_line([f"{words}: **found**, {len(found)} studies", f"**{_counts(found)}**"]))
    return "\n".join(lines)


def with_tables(page: str, outcome: dict[str, Any]) -> str:
    """The page with the tables between their markers."""
    page = replaced(page, "demonstration", trees_table(outcome))
    page = replaced(page, "demonstration, expected", expected_table(outcome))
    page = replaced(page, "digits spread", example_sentence(outcome))
    return replaced(page, "digits example", example_table(outcome))


def example_sentence(outcome: dict[str, Any]) -> str:
    """Seed spread and power of the example suite's baseline, in words."""
    rows = outcome["baseline"]
    own = ", ".join(f"{method} {row['own_spread']:.2f}" for method, row in rows.items())
    seeds = min(len(values) for values in outcome["runs"]["baseline"].values())
    finds = max(row["finds"] for row in rows.values())
    return (
        f"Measured over {seeds} seeds, its seed spread is {outcome['expected']['spread']:.2f} points ({own}).\n"
        f"With alpha {outcome['alpha']:g} five new seeds show a drop of {finds:.1f} points in one row 4 times in 5. "
        f"The margin is {outcome['margin']:g} points."
    )


def example_table(outcome: dict[str, Any]) -> str:
    """What the gate says about the example suite when one of its rows drops, in % of studies."""
    lines = [_line(["true drop of one row", "pass / regression / open", "seeds"]), _line(["---"] * 3)]
    for at in outcome["example"]:
        lines.append(_line([f"{at['drop']:g}", shares(_characteristics(at)), f"{at['seeds']:.1f}"]))
    return "\n".join(lines)


def _characteristics(at: dict[str, float]) -> Characteristics:
    return Characteristics(at["passed"], at["regressed"], at["open"], at["seeds"])


def _counts(found: Sequence[dict[str, Any]]) -> str:
    counts = Counter(each["verdict"] for each in found)
    if set(counts) - set(VERDICTS):
        raise ValueError(f"neither pass, regression nor inconclusive: {sorted(set(counts) - set(VERDICTS))}")
    return " / ".join(str(counts[verdict]) for verdict in VERDICTS)


def _tens(shares: Sequence[float]) -> str:
    return " / ".join(f"{10 * share:.1f}" for share in shares)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
