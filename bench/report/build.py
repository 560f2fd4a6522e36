"""All tables of a study from its records: a pure function, the same bytes on any machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.records import RunRecord, SpeedSession
from bench.report.about import NOTHING_SAID, About
from bench.report.accuracy import accuracy_table
from bench.report.adversarial_table import adversarial_table
from bench.report.calibration_tables import calibration_table, reliability_table
from bench.report.corruption_sets import corruption_sets
from bench.report.corruption_tables import corruptions_table, severities_table
from bench.report.features_table import features_table
from bench.report.leaderboard import leaderboard_table
from bench.report.ood_table import ood_table
from bench.report.readings import Readings
from bench.report.robustness import robustness_table
from bench.report.shift_table import shift_table
from bench.report.statement import statements
from bench.report.study import REFERENCE, Study, arrange
from bench.report.table import Table
from bench.report.throughput import throughput_table
from bench.report.throughput_scaling import scaling_table
from bench.report.throughput_split import split_table
from bench.spec import Spec

_ROBUSTNESS = ("corruptions", "severities", "adversarial", "calibration", "reliability", "ood", "shift", "features")
DETAIL_NAMES = (*(f"robustness-{name}" for name in _ROBUSTNESS), "throughput-split", "throughput-scaling")
"""Names of all tables that are written only where something of them was measured."""


@dataclass(frozen=True)
class Tables:
    """The four tables, their details, what the study can show, and which records were left out.

    details: one table for each kind of evaluation that any run has. statements: a line a cell. about: what stands at
    the head wherever the tables are shown.
    """

    accuracy: Table
    robustness: Table
    throughput: Table
    leaderboard: Table
    details: list[Table]
    statements: list[str]
    notes: list[str]
    study: Study
    about: About = NOTHING_SAID

    @property
    def all(self) -> list[Table]:
        """Every table that is written as a CSV."""
        return [self.accuracy, self.robustness, *self.details, self.throughput, self.leaderboard]

    def detail(self, name: str) -> Table | None:
        """One of the details by its file's stem; None where nothing of it was measured."""
        return next((table for table in self.details if table.name == name), None)


def build_tables(
    records: Iterable[RunRecord],
    sessions: Sequence[SpeedSession] = (),
    plan: Sequence[Spec] | None = None,
    reference: str = REFERENCE,
    hardware: str | None = None,
    about: About = NOTHING_SAID,
    announced: Sequence[Spec] = (),
) -> Tables:
    """Build all tables.

    plan: the specs (with data digest) of all planned runs, in the order of the rows; planned runs without a record
    are counted as missing, and nothing else is shown. Without a plan all records are shown, best mean first.
    reference: label or implementation of the method that others are compared with. hardware: part of the name of the
    machine whose timing sessions are to be used. about: title and note at the head; no number depends on them.
    announced: specs of runs that are missing where they have no record, without a plan.
    BadInput where timing sessions cannot be put into one table.
    """
    study = arrange(records, plan, reference, announced)
    readings = Readings(study.cells)
    sets = corruption_sets(readings)
    accuracy = accuracy_table(study)
    robustness = robustness_table(study, readings, sets)
    throughput = throughput_table(study, sessions, hardware)
    leaderboard = leaderboard_table(study, accuracy, robustness, throughput, sessions)
    details = [
        corruptions_table(study, readings, sets),
        severities_table(study, readings, sets),
        adversarial_table(study, readings),
        calibration_table(study, readings),
        reliability_table(study, readings),
        ood_table(study, readings),
        shift_table(study, readings),
        features_table(study, readings),
        split_table(study, sessions, hardware),
        scaling_table(study, sessions, hardware),
    ]
    measured = [table for table in details if table is not None]
    said = statements(study)
    return Tables(accuracy, robustness.table, throughput, leaderboard, measured, said, study.notes, study, about)
