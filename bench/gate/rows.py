"""What the gate answers for one number of one table row, and for a whole study."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from bench.errors import EXIT_FINE, EXIT_INCOMPLETE, EXIT_REGRESSION
from bench.spec import Labels

Kind = Literal["accuracy", "robustness", "speed"]
Verdict = Literal["pass", "regression", "inconclusive", "not comparable", "missing"]
VERDICTS: tuple[Verdict, ...] = ("pass", "regression", "inconclusive", "not comparable", "missing")


WORST_FIRST: tuple[Verdict, ...] = ("regression", "missing", "not comparable", "inconclusive")


@dataclass(frozen=True)
class Row:
    """One answer.

    cell: data / backbone / protocol. before, after: means in %, for speed the median step time relative to the
    reference method. change, low, high: points, for speed the quotient of the two. p: of a drop, corrected. n_before,
    n_after: seeds, for speed rounds. wanted: new seeds that a decision needs next, 0 for none.
    """

    cell: str
    method: str
    arm: str
    measure: str
    verdict: Verdict
    reason: str
    before: float | None = None
    after: float | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    n_before: int = 0
    n_after: int = 0
    wanted: int = 0

    @property
    def name(self) -> str:
        """The number in a person's words."""
        return f"{self.cell} / {self.method} / {self.measure}"


@dataclass(frozen=True)
class Outcome:
    """All answers of one gate. mean: the test on the mean over rows. limit: what the rule allows, in words."""

    kind: Kind
    baseline: str
    limit: str
    rows: list[Row]
    mean: Row | None = None
    notes: list[str] = field(default_factory=list[str])

    @property
    def all(self) -> list[Row]:
        """The rows and their mean."""
        return [*self.rows, *([self.mean] if self.mean else [])]

    @property
    def verdict(self) -> Verdict:
        """Of the whole study: the first of regression, missing, not comparable, inconclusive that any row has."""
        found = {row.verdict for row in self.all}
        for verdict in WORST_FIRST:
            if verdict in found:
                return verdict
        return "pass" if found else "missing"

    @property
    def exit_code(self) -> int:
        """0 pass, 1 regression, 3 anything that is neither."""
        return {"pass": EXIT_FINE, "regression": EXIT_REGRESSION}.get(self.verdict, EXIT_INCOMPLETE)

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        rows = [asdict(row) for row in self.rows]
        mean = asdict(self.mean) if self.mean else None
        return {
            "kind": self.kind, "baseline": self.baseline, "verdict": self.verdict, "exit_code": self.exit_code,
            "limit": self.limit, "rows": rows, "mean": mean, "notes": self.notes,
        }  # fmt: skip


def cell_title(labels: Labels) -> str:
    """Data, backbone and protocol in one line."""
    return f"{labels.data} / {labels.backbone} / {labels.protocol}"
