"""The tables of a tuning: a row for each method, and a row for each trial."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.rows import METHOD_FIELD, interval_columns, interval_values
from bench.report.table import NOT_APPLICABLE, Column, Field, Record, Table, fixed, with_interval
from bench.spec import Scalar
from bench.stats import mean
from bench.tune.comparison import ByArm, gaps, own_interval
from bench.tune.plan import Settings, require_equal_trials
from bench.tune.tuned_suite import Tuned

NOTHING = "nothing to tune"
_LABELS = [
    Column("data", "name of the data config"),
    Column("backbone", "name of the backbone config"),
    Column("protocol", "name of the protocol config"),
    Column("method", "name of the method config"),
]
COLUMNS = [
    *_LABELS,
    Column("searched", "what was searched, and what of it the suite or the arm had fixed"),
    Column("trials", "trials made; 0 where there is nothing to tune"),
    Column("trials_failed", "trials without a validation accuracy; they count as trials"),
    Column("trials_distinct", "different settings among the trials"),
    Column("sampler", "what proposed the settings after the first, which is the default"),
    Column("tuning_seed", "seed of all trials; no result has it"),
    Column("validation_images", "images that the choice rests on"),
    Column("chosen_trial", "number of the chosen trial, 1 being the default"),
    Column("chosen", "the chosen values"),
    Column("default", "the default values"),
    Column("validation_default", "validation top-1 of the default in its one trial, %", 2),
    Column("validation_chosen", "validation top-1 of the chosen trial, %: highest of all trials, so too high", 2),
    *interval_columns("default_top1", "mean test top-1 with the default, %; t interval from its own seeds", 2),
    Column("default_n_ok", "runs with the default that ended ok"),
    *interval_columns("tuned_top1", "mean test top-1 with the chosen values and fresh seeds, %; as default_top1", 2),
    Column("tuned_n_ok", "runs with the chosen values that ended ok"),
    Column("n_planned", "runs planned with either"),
    *interval_columns("gap", "tuned_top1 minus default_top1, paired by seed, points", 2, df=True),
    Column("footnotes", "failed trials and their reasons"),
    Column("default_arm", "id of the row with the default values"),
    Column("tuned_arm", "id of the row with the chosen values"),
]
TRIAL_COLUMNS = [
    *_LABELS,
    Column("trial", "number of the trial, 1 being the default"),
    Column("values", "values of the searched parameters"),
    Column("status", "how it ended"),
    Column("reason", "why it failed"),
    Column("validation_top1", "validation top-1 after the last epoch, %", 2),
    Column("chosen", "1 for the chosen trial"),
    Column("run_id", "id of the run among the trials"),
]


def tuning_table(tuned: Sequence[Tuned], default: ByArm, after: ByArm, settings: Settings) -> Table:
    """A row for each method of each cell. default, after: the runs of the suite and of the tuned suite.

    ValueError where methods got different numbers of trials.
    """
    require_equal_trials([item.plan for item in tuned])
    rows: list[Record] = []
    for cell in dict.fromkeys(item.plan.cell for item in tuned):
        items = [item for item in tuned if item.plan.cell == cell]
        before = {item.plan.method: default[cell, item.plan.method] for item in items}
        now = {item.plan.method: after[cell, item.name] for item in items}
        found = gaps(before, now)
        for item in items:
            name = item.plan.method
            first, second, gap = before[name], now[name], found[name]
            rows.append(
                _trials(item, settings)
                | interval_values("default_top1", own_interval(first), 100, _mean(first.top1))
                | interval_values("tuned_top1", own_interval(second), 100, _mean(second.top1))
                | interval_values("gap", gap.interval, 100, gap.value, df=True)
                | {"default_n_ok": len(first.ok), "tuned_n_ok": len(second.ok), "n_planned": first.planned}
                | {"default_arm": first.arm, "tuned_arm": second.arm}
            )
    return Table("tuning", "Tuning", COLUMNS, _fields(), rows, _notes(settings))


def trials_table(tuned: Sequence[Tuned]) -> Table:
    """A row for each trial."""
    rows: list[Record] = [
        _labels(item)
        | {
            "trial": found.trial.number,
            "values": values_text(found.trial.values),
            "status": found.status,
            "reason": " ".join((found.reason or "").split()),
            "validation_top1": None if found.validation is None else 100 * found.validation,
            "chosen": int(found is item.chosen),
            "run_id": found.run_id,
        }
        for item in tuned
        for found in item.outcomes
    ]
    return Table("trials", "Trials", TRIAL_COLUMNS, [], rows)


def values_text(values: dict[str, Scalar]) -> str:
    """Such as "alpha = 0.37, stage = 2"."""
    return ", ".join(f"{name} = {value}" for name, value in values.items())


def _labels(item: Tuned) -> Record:
    data, backbone, protocol = item.plan.cell
    return {"data": data, "backbone": backbone, "protocol": protocol, "method": item.plan.method}


def _trials(item: Tuned, settings: Settings) -> Record:
    plan, outcomes, chosen = item.plan, item.outcomes, item.chosen
    failed = [found for found in outcomes if found.validation is None]
    parameters = plan.default.spec.method.parameters
    names = [searched.name for searched in plan.space.searched]
    images = {found.validation_images for found in outcomes if found.validation_images is not None}
    return _labels(item) | {
        "searched": _searched(item),
        "trials": len(plan.trials),
        "trials_failed": len(failed),
        "trials_distinct": len({found.run_id for found in outcomes}),
        "sampler": settings.sampler if outcomes else "",
        "tuning_seed": settings.seed if outcomes else None,
        "validation_images": max(images, default=None),
        "chosen_trial": None if chosen is None else chosen.trial.number,
        "chosen": "" if chosen is None else values_text(chosen.trial.values),
        "default": values_text({name: parameters[name] for name in names}),
        "validation_default": _percent(outcomes[0].validation if outcomes else None),
        "validation_chosen": _percent(chosen.validation if chosen else None),
        "footnotes": "; ".join(
            f"trial {found.trial.number} {found.status}" + (f" ({' '.join(found.reason.split())})" * bool(found.reason))
            for found in failed
        ),
    }


def _searched(item: Tuned) -> str:
    space = item.plan.space
    fixed_text = f"fixed: {', '.join(space.fixed)}" if space.fixed else ""
    return "; ".join([", ".join(searched.text for searched in space.searched) or NOTHING, *filter(None, [fixed_text])])


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _mean(values: dict[int, float]) -> float | None:
    return mean(list(values.values())) if values else None


def _fields() -> list[Field]:
    def trials(row: Record) -> str:
        return f"{row['trials']} ({row['trials_failed']} failed)" if row["trials_failed"] else str(row["trials"])

    def chosen(row: Record) -> str:
        if not row["trials"]:
            return NOTHING
        return str(row["chosen"]) + (" (the default)" * (row["chosen_trial"] == 1)) or "no trial ended ok"

    def validation(row: Record) -> str:
        pair = [row["validation_default"], row["validation_chosen"]]
        return NOT_APPLICABLE if not row["trials"] else " / ".join(_number(value) for value in pair)

    def gap(row: Record) -> str:
        same = row["default_arm"] == row["tuned_arm"]
        return NOT_APPLICABLE if same else with_interval("gap", 2, signed=True)(row)

    return [
        METHOD_FIELD,
        Field("trials", trials),
        Field("chosen", chosen, left=True),
        Field("default top-1 %", with_interval("default_top1", 2)),
        Field("tuned top-1 %", with_interval("tuned_top1", 2)),
        Field("gap, points", gap),
        Field("validation %, default / chosen", validation),
        Field("searched", lambda row: str(row["searched"]), left=True, where="markdown"),
    ]


def _number(value: str | int | float | None) -> str:
    return "failed" if value is None else fixed(float(value), 2)


def _notes(settings: Settings) -> list[str]:
    others = settings.trials - 1
    got = (
        f"{settings.trials} trials: its default, then {others} setting{'s' if others > 1 else ''} of its own from the "
    )
    got += f"{settings.sampler} sampler, all"
    return [
        f"Every method with anything to tune got {got if others else 'one trial, its default,'} trained with seed "
        f"{settings.seed}, which no result has. A failed trial counts as a trial.",
        "Chosen by top-1 on the validation images after the last epoch; of equal trials the earliest is taken, so the "
        "default wins a tie. No trial was evaluated on a test image.",
        "Test top-1 is of new runs with the suite's seeds. The chosen trial's validation top-1 is the highest of many "
        "and therefore too high; a gap whose interval holds 0 is no gain. Intervals are 95 % each.",
        "Equal trials are not equal chances: with more parameters the same number of trials searches a larger space.",
    ]
