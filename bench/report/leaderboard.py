"""The leaderboard: one line a method with accuracy, robustness, calibration and cost, joined from the other tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.records import RunRecord, SpeedSession
from bench.report.measurements import by_seed, diagnostic
from bench.report.provenance import PROVENANCE_COLUMNS, provenance
from bench.report.quantity import Quantity
from bench.report.robustness import Robustness
from bench.report.rows import (
    COUNT_COLUMNS,
    COUNT_FIELD,
    ID_COLUMNS,
    IS_BASE,
    LABEL_COLUMNS,
    METHOD_FIELD,
    REFERENCE_TEXT,
    difference_text,
    interval_columns,
)
from bench.report.study import Cell, Row, Study
from bench.report.table import NOT_APPLICABLE, Column, Field, Record, Table, plain, with_interval
from bench.stats import mean, shared_ranks

SHARE_KEPT = "share_kept"
"""The diagnostic in which a method tells how much of the first image its mixtures keep."""
_ENDS = ("", "_low", "_high")
_SPEED = ("ratio", "ratio_low", "ratio_high", "peak_memory_mib", "passes_per_step")

COLUMNS = [
    *LABEL_COLUMNS,
    *COUNT_COLUMNS,
    Column(
        "rank",
        "1 + how many rows of the cell are shown to have a higher top1, among those whose planned runs all ended ok; "
        "rows that cannot be told apart share a rank",
        digits=4,
    ),
    *interval_columns("top1", "mean test top-1 after the last epoch, %", 2),
    *interval_columns("difference", "top1 minus that of the reference method, paired by seed, points", 2),
    Column(
        "best_epoch_selected_on_test", "mean of each run's highest test top-1, %: selected on test, not for ranking", 2
    ),
    Column("nll", "mean negative log-likelihood on the test images, nats", 4),
    Column("ece", "expected calibration error, 15 bins, %", 2),
    Column("ece_floor", "what ece would be for a perfectly calibrated model of the same confidences, %", 2),
    *interval_columns("corruption_mean", "mean top-1 over all corruptions and severities, %", 2),
    *interval_columns("corruption_difference", "the same minus the reference, paired by seed, points", 2),
    *interval_columns("apgd", "top-1 under the worst case of APGD-CE and targeted APGD-DLR, %", 2),
    *interval_columns("apgd_difference", "the same minus the reference, paired by seed, points", 2),
    Column("apgd_size", "norm and size of that attack, such as 'linf 1' (in 1/255) or 'l2 0.5'; one a cell"),
    *interval_columns("fgsm_mean", "mean top-1 over all FGSM radii (one step; legacy), %", 2),
    *interval_columns("ratio", "step time relative to the reference's", 3),
    Column("peak_memory_mib", "most memory allocated on the GPU, MiB", 1),
    Column("passes_per_step", "images sent through the network per training image", 2),
    Column(SHARE_KEPT, "mean share of the first image that mixtures keep, where the method tells it, %", 2),
    Column(
        "alignment_effect_to_first",
        "relative change of the logits when the alignment is left out, first direction",
        digits=3,
    ),
    Column("alignment_effect_to_second", "the same in the other direction", digits=3),
    *PROVENANCE_COLUMNS,
    *ID_COLUMNS,
]


def leaderboard_table(
    study: Study, accuracy: Table, robustness: Robustness, throughput: Table, sessions: Sequence[SpeedSession]
) -> Table:
    """Join the three tables by arm, in the order of the accuracy table. sessions: those of the throughput table."""
    robust, speed = ({str(row["arm"]): row for row in table.rows} for table in (robustness.table, throughput))
    places = {row.arm: (cell, row) for cell in study.cells for row in cell.rows}
    ranked = {cell.id: _ranks(cell) for cell in study.cells}
    attacks = {cell.id: _attack(cell, robustness.apgd, robust) for cell in study.cells}
    rows: list[Record] = []
    for record in accuracy.rows:
        arm = str(record["arm"])
        cell, row = places[arm]
        attack = attacks[cell.id]
        joined: Record = {**record, "rank": ranked[cell.id].get(arm)}
        joined |= _first(robust[arm], robustness.corruption_means, "", "corruption_mean")
        joined |= _first(robust[arm], robustness.corruption_means, "_difference", "corruption_difference")
        joined |= _first(robust[arm], attack[:1], "", "apgd")
        joined |= _first(robust[arm], attack[:1], "_difference", "apgd_difference")
        joined["apgd_size"] = attack[1] if attack and joined["apgd"] is not None else None
        joined |= _first(robust[arm], robustness.attack_means, "", "fgsm_mean")
        joined |= {name: speed[arm][name] for name in _SPEED}
        joined[SHARE_KEPT] = _share_kept(row)
        rows.append(joined | provenance(cell, row, sessions))
    return Table("leaderboard", "Leaderboard", COLUMNS, _fields(study.reference), rows, _notes(study, ranked, rows))


def _ranks(cell: Cell) -> dict[str, int]:
    """By arm, of complete rows only: where runs failed, the mean is over those that did not."""
    complete = {row.arm for row in cell.rows if len(row.ok) == len(row.runs)}
    return shared_ranks({row.arm: row.top1 for row in cell.rows}, complete, cell.variance)


def _attack(cell: Cell, apgd: Sequence[Quantity], robust: Mapping[str, Record]) -> list[str]:
    """Column and size of the first attack that any row of the cell has, so that all rows show the same."""
    for one in apgd:
        if any(robust[row.arm][one.name] is not None for row in cell.rows):
            series = one.parts[0]
            return [one.name, f"{series.text('norm')} {series.text('eps')}"]
    return []


def _first(row: Record, means: Sequence[str], suffix: str, name: str) -> Record:
    """The columns of the first family that has a value in this row."""
    source = next((mean for mean in means if row[mean] is not None), None)
    return {f"{name}{end}": row[f"{source}{suffix}{end}"] if source else None for end in _ENDS}


def _share_kept(row: Row) -> float | None:
    shares = by_seed(row.ok, run_share)
    return mean(list(shares.values())) * 100 if shares else None


def run_share(run: RunRecord) -> float | None:
    """Mean over all epochs of the loss part of that name, else the diagnostic."""
    told = run.training.parts.get(SHARE_KEPT)
    return told if told is not None else diagnostic(run, SHARE_KEPT)


def _fields(reference: str) -> list[Field]:
    ratio = with_interval("ratio", 2)
    return [
        METHOD_FIELD,
        Field("rank", _rank),
        COUNT_FIELD,
        Field("top-1 % [95 %]", with_interval("top1", 2)),
        Field(f"minus {reference} [95 %]", difference_text("difference", 2)),
        Field("best epoch", plain("best_epoch_selected_on_test", 2)),
        Field("ECE %", plain("ece", 1)),
        Field("corrupted %", plain("corruption_mean", 2)),
        Field(f"minus {reference} [95 %]", difference_text("corruption_difference", 2)),
        Field("APGD %", plain("apgd", 2)),
        Field("FGSM %", plain("fgsm_mean", 2)),
        Field(f"time / {reference} [95 %]", lambda row: REFERENCE_TEXT if row[IS_BASE] else ratio(row)),
        Field("passes/step", plain("passes_per_step", 2)),
        Field("peak MiB", plain("peak_memory_mib", 0)),
        Field("share kept %", plain(SHARE_KEPT, 1)),
    ]


def _rank(row: Record) -> str:
    return NOT_APPLICABLE if row["rank"] is None else str(row["rank"])


def _notes(study: Study, ranked: Mapping[str, Mapping[str, int]], rows: Sequence[Record]) -> list[str]:
    notes = [
        "rank: 1 + how many methods are shown to be better by top-1 after the last epoch, within data, backbone and "
        "protocol (all pairs, Holm, 95 %); methods that cannot be told apart share a rank. Only where all planned runs "
        "ended ok; the best epoch is selected on the test set, not for ranking.",
        *(
            f"{cell.title}: no ranks, as too few seeds ended ok to tell any two methods apart."
            for cell in study.cells
            if not ranked[cell.id]
        ),
        "Corruption and FGSM columns are means over their conditions; see the robustness table.",
    ]
    sizes = {
        f"{row['data']} / {row['backbone']} / {row['protocol']}: APGD of size {row['apgd_size']}"
        f"{'/255' if str(row['apgd_size']).startswith('linf') else ''}."
        for row in rows
        if row["apgd_size"] is not None
    }
    return [*notes, *sorted(sizes)]
