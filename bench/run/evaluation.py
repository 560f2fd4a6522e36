"""Run one evaluator on one trained backbone into its record file, continuing where an earlier attempt stopped."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.env import provenance
from bench.evals.api import Context, metric_key
from bench.evals.registry import EvalArm
from bench.records import RecordWriter, read_record
from bench.run.execute import Stopped


def evaluate_arm(
    arm: EvalArm, context: Context, file: Path, source_digest: str, others: dict[str, str], carried: Path | None,
    report: Callable[[float], None], stopping: Callable[[], bool],
) -> None:  # fmt: skip
    """Append the metrics that `file` does not hold yet, each as soon as it is known, and an end line.

    others: run ids of `context.others`. carried: a finished record by the same code and settings that lacked them; its
    numbers are taken over, and only what it could not measure is measured now. report: told the share of metrics done.
    Nothing is written before the first number, so a refused evaluation leaves earlier records in force.
    """
    started = time.monotonic()
    own = _metrics(file)
    taken = [line for line in _metrics(carried) if line["value"] is not None] if carried and not own else []
    done = {metric_key(line["name"], line["detail"]): line["value"] for line in [*own, *taken]}
    evaluator = arm.build()
    keys = evaluator.plan(context)
    metrics = evaluator.evaluate(context, done)
    first = next(metrics, None)
    with RecordWriter(file) as record:
        record.append(
            "begin",
            eval=arm.name,
            title=arm.title,
            evaluator=arm.evaluator,
            version=arm.version,
            settings=arm.settings,
            digest=arm.digest,
            source_digest=source_digest,
            others=others,
            provenance=provenance(context.device.type),
            done=len(done),
            time=time.time(),
        )
        for line in taken:
            record.append("metric", name=line["name"], value=line["value"], detail=line["detail"])
        for count, metric in enumerate(itertools.chain([first] if first else [], metrics), start=len(done) + 1):
            record.append("metric", name=metric.name, value=metric.value, detail=metric.detail)
            report(min(1.0, count / max(1, len(keys))))
            if stopping():
                raise Stopped
        record.append("end", status="ok", seconds=time.monotonic() - started)


def _metrics(file: Path) -> list[dict[str, Any]]:
    return [line for line in read_record(file).lines if line["kind"] == "metric"]
