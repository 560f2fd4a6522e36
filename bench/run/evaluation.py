"""Run one evaluator on one trained backbone into its record file, continuing where an earlier attempt stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from bench.env import provenance
from bench.evals.api import Context, metric_key
from bench.evals.registry import EvalArm
from bench.records import RecordWriter, read_record
from bench.run.execute import Stopped


def evaluate_arm(
    arm: EvalArm, context: Context, file: Path, source_digest: str, others: dict[str, str],
    report: Callable[[float], None], stopping: Callable[[], bool],
) -> None:  # fmt: skip
    """Append the metrics that `file` does not hold yet, each as soon as it is known, and an end line.

    others: run ids of `context.others`. report: told the share of metrics done so far.
    """
    earlier = read_record(file).lines
    done = {metric_key(line["name"], line["detail"]): line["value"] for line in earlier if line["kind"] == "metric"}
    evaluator = arm.build()
    keys = evaluator.plan(context)
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
        for count, metric in enumerate(evaluator.evaluate(context, done), start=len(done) + 1):
            record.append("metric", name=metric.name, value=metric.value, detail=metric.detail)
            report(min(1.0, count / max(1, len(keys))))
            if stopping():
                raise Stopped
        record.append("end", status="ok")
