"""All tables of a study from its records: a pure function, the same bytes on any machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.records import RunRecord, SpeedSession
from bench.report.accuracy import accuracy_table
from bench.report.leaderboard import leaderboard_table
from bench.report.robustness import robustness_table
from bench.report.statement import statements
from bench.report.study import REFERENCE, Study, arrange
from bench.report.table import Table
from bench.report.throughput import throughput_table
from bench.spec import Spec


@dataclass(frozen=True)
class Tables:
    """The four tables, what the study can show (a line a cell), and which records were left out."""

    accuracy: Table
    robustness: Table
    throughput: Table
    leaderboard: Table
    statements: list[str]
    notes: list[str]
    study: Study

    @property
    def all(self) -> list[Table]:
        """Every table that is written as a CSV."""
        return [self.accuracy, self.robustness, self.throughput, self.leaderboard]


def build_tables(
    records: Iterable[RunRecord],
    sessions: Sequence[SpeedSession] = (),
    plan: Sequence[Spec] | None = None,
    reference: str = REFERENCE,
    hardware: str | None = None,
) -> Tables:
    """Build all tables.

    plan: the specs (with data digest) of all planned runs, in the order of the rows; planned runs without a record
    are counted as missing, and nothing else is shown. Without a plan all records are shown, best mean first.
    reference: label or implementation of the method that others are compared with. hardware: part of the name of the
    machine whose timing sessions are to be used. BadInput where timing sessions cannot be put into one table.
    """
    study = arrange(records, plan, reference)
    accuracy = accuracy_table(study)
    robustness = robustness_table(study)
    throughput = throughput_table(study, sessions, hardware)
    leaderboard = leaderboard_table(accuracy, robustness, throughput, reference)
    return Tables(accuracy, robustness.table, throughput, leaderboard, statements(study), study.notes, study)
