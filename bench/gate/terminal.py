"""An outcome as plain text for people and as Markdown for a step summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bench.gate.power import COMFORTABLE, Power
from bench.gate.rows import VERDICTS, Outcome, Row, cell_title

HEADINGS = ("verdict", "method", "measure", "before", "now", "change", "n", "why")


def outcome_text(outcome: Outcome) -> str:
    """A block for each cell, then the mean, the rule and what it came to."""
    lines: list[str] = []
    for cell in dict.fromkeys(row.cell for row in outcome.all):
        rows = [_texts(row, outcome.kind) for row in outcome.all if row.cell == cell]
        lines += [f"GATE {outcome.kind.upper()}  {cell}", *_aligned([HEADINGS, *rows]), ""]
    lines += [f"Rule: {outcome.limit}.", *(f"Note: {note}" for note in outcome.notes), summary(outcome)]
    return "\n".join(lines)


def outcome_markdown(outcome: Outcome) -> str:
    """The same as Markdown."""
    lines = [f"## Gate: {outcome.kind}: {outcome.verdict}", ""]
    for cell in dict.fromkeys(row.cell for row in outcome.all):
        rows = [_texts(row, outcome.kind) for row in outcome.all if row.cell == cell]
        table = [HEADINGS, tuple("---" for _ in HEADINGS), *rows]
        lines += [f"**{_escaped(cell)}**", "", *(f"| {' | '.join(map(_escaped, line))} |" for line in table), ""]
    lines += [f"Rule: {_escaped(outcome.limit)}.", "", *(f"- {_escaped(note)}" for note in outcome.notes), ""]
    return "\n".join([*lines, _escaped(summary(outcome)), ""])


def summary(outcome: Outcome) -> str:
    """The verdict and how many rows have which."""
    counts = Counter(row.verdict for row in outcome.rows)
    parts = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]]
    return f"{outcome.verdict.upper()}: {', '.join(parts) or 'no rows'}; exit code {outcome.exit_code}"


def power_text(powers: Sequence[Power], margin: float) -> str:
    """What a new baseline can show, row by row, and which rows the margin is too narrow for."""
    rows = [("method", "measure", "seeds", "seed sd", "finds", "")]
    for power in powers:
        narrow = margin < COMFORTABLE * power.error
        remark = (
            f"margin {margin:g} is narrow: {COMFORTABLE * power.error:.2f} would pass unchanged code" if narrow else ""
        )
        labels = power.entry.labels
        rows.append(
            (f"{labels.method} ({cell_title(labels)})", power.entry.measure, str(len(power.entry.runs)),
             f"{power.spread:.2f}", f"{power.drop:.2f}", remark)
        )  # fmt: skip
    words = "finds: the smallest true drop, in points, of a single row that 5 new seeds show with probability 0.8."
    return "\n".join([*_aligned(rows), words])


def _texts(row: Row, kind: str) -> tuple[str, ...]:
    number = _ratio if kind == "speed" else _points
    return (
        row.verdict, row.method, row.measure, number(row.before), number(row.after), _change(row, kind),
        f"{row.n_after} vs {row.n_before}", row.reason,
    )  # fmt: skip


def _change(row: Row, kind: str) -> str:
    if row.change is None:
        return "-"
    if kind == "speed":
        return f"x {row.change:.3f}" + ("" if row.low is None else f" [{row.low:.3f}, {row.high:.3f}]")
    return f"{row.change:+.2f}" + ("" if row.low is None else f" [{row.low:+.2f}, {row.high:+.2f}]")


def _points(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} %"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]  # fmt: skip


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'").replace("\n", " ")
