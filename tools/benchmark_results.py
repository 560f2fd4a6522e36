"""What the benchmarks of the repository found, as files and as the page docs/performance.md."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.benchmark_gpu import gpu_table

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "reference" / "benchmarks"
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- benchmarks: written by tools/bench_self.py -->", "<!-- end of benchmarks -->"
SCHEMA = "mixbench-benchmarks/1"
KEYS = ("what", "case", "baseline", "ratio", "ratio_low", "ratio_high", "seconds", "target")
_TARGET = re.compile(r"(<=|>=|<|>)\s*([\d.]+)")


def checked_row(row: Mapping[str, object]) -> dict[str, object]:
    """A row with exactly KEYS and numbers rounded to six digits. ValueError where it is not one."""
    if set(row) != set(KEYS):
        raise ValueError(f"a row has the keys {sorted(row)}, not {sorted(KEYS)}")
    if not isinstance(row["ratio"], int | float) or not isinstance(row["seconds"], int | float):
        raise ValueError(f"{row['what']}: ratio and seconds must be numbers")
    return {key: float(f"{value:.6g}") if isinstance(value := row[key], float) else value for key in KEYS}


def verdict(row: Mapping[str, Any]) -> str:
    """ "yes" or "no" where the target is a bound such as "<= 1.05" or ">= 8", else ""."""
    found = _TARGET.match(str(row["target"]))
    if found is None:
        return ""
    ratio, bound = float(row["ratio"]), float(found[2])
    return "yes" if (ratio <= bound if found[1].startswith("<") else ratio >= bound) else "no"


def slug(hardware: str) -> str:
    """A file name for a machine."""
    return re.sub(r"[^a-z0-9]+", "-", hardware.lower()).strip("-")


def read_results(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """All machines' files, by file name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def merged(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> dict[str, Any]:
    """A machine's file with the benchmarks that were run now in the place of older ones; the others stay."""
    benchmarks = {**(old["benchmarks"] if old else {}), **new["benchmarks"]}
    return {**new, "benchmarks": dict(sorted(benchmarks.items()))}


def results_text(results: Mapping[str, Any]) -> str:
    """The file's text."""
    return json.dumps(results, indent=1, sort_keys=True) + "\n"


def page_tables(machines: Sequence[Mapping[str, Any]]) -> str:
    """Every machine's rows as Markdown, and what is to be reached on a GPU with what was."""
    parts: list[str] = []
    for results in machines:
        parts += ["", f"### {results['hardware']}", ""]
        for name, found in sorted(results["benchmarks"].items()):
            parts += [f"`{name}`: torch {found['torch']}, {found['threads']} thread(s), code {found['commit']}", ""]
            parts += [*_table(found["rows"]), ""]
    parts += ["", "### On a GPU", "", *gpu_table(machines), ""]
    return "\n".join(parts)


def with_tables(page: str, tables: str) -> str:
    """The page with the tables between its markers. ValueError where they are missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "| what | case | relative to | ratio | 95 % | target | reached | seconds |",
        "| :-- | :-- | :-- | --: | --: | --: | :-: | --: |",
    ]
    for row in rows:
        low, high = row["ratio_low"], row["ratio_high"]
        interval = "" if low is None or high is None else f"{low:.3g} to {high:.3g}"
        cells = [row["what"], row["case"], row["baseline"], f"{row['ratio']:.3g}", interval, row["target"],
                 verdict(row), f"{row['seconds']:.3g}"]  # fmt: skip
        lines.append("| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |")
    return lines
