"""Suites and records for the tests of tuning, made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.config.overrides import parse_set_options
from bench.config.suite import Suite, load_suite
from bench.records import RecordWriter, RunRecord, Store
from bench.spec import Spec

FILES = {
    "suite/s.yaml": "title: a suite\ndata: digits\nbackbone: tiny\nprotocol: short\n"
    "methods: [erm, mixup, mixup-strong, cutmix]\nseeds: 2\n",
    "data/digits.yaml": "source: digits\nresolution: 32\nchannels: 1\nmean: [0.3]\nstd: [0.4]\ntrain_per_class: 5\n",
    "backbone/tiny.yaml": "name: test_resnet\n",
    "protocol/short.yaml": "epochs: 30\nwarmup_epochs: 5\nbatch_size: 10\nlearning_rate: 0.1\nevaluate_every: 10\n",
    "method/mixup.yaml": "implementation: mixup\nsearch:\n  alpha: {low: 0.1, high: 4.0, scale: log}\n",
    "method/mixup-strong.yaml": "implementation: mixup\ntitle: Mixup, strong\nlam_per: sample\nalpha: 2.0\n",
    "method/cutmix.yaml": "implementation: cutmix\nsearch:\n  alpha: {low: 0.1, high: 4.0, scale: log}\n"
    "  probability: {low: 0.25, high: 1.0}\n",
}


def write_configs(folder: Path, **changed: str) -> Path:
    """All FILES below folder; changed: contents by the file's stem."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(changed.get(path.stem.replace("-", "_"), text))
    return folder


def load(configs: Path, *options: str, validation: bool = True) -> Suite:
    given = [*options, *(["data.validation=0.2"] if validation else [])]
    return load_suite(str(configs / "suite" / "s.yaml"), parse_set_options(given))


def recorded(
    root: Path, spec: Spec, last: dict[str, float | None], earlier: dict[str, float | None] | None = None,
    status: str = "ok", reason: str = "",
) -> RunRecord:  # fmt: skip
    """A run's record with two epochs; `last` and `earlier` give top-1 by split."""
    digest = spec.data.model_copy(update={"digest": "d"})
    spec = spec.model_copy(update={"data": digest})
    store = Store(root)
    folder = store.new_attempt(spec.run_id)
    with RecordWriter(folder / "train.jsonl") as writer:
        writer.append("begin", schema=1, run_id=spec.run_id, spec=spec.model_dump(mode="json"), provenance={},
                      labels=spec.labels.model_dump(), source_digest="s", planned=[spec.seed])  # fmt: skip
        for number, shares in enumerate((earlier or last, last), start=1):
            writer.append(
                "epoch",
                epoch=number,
                train_loss=1.0,
                **{name: _split(shares.get(name)) for name in ("test", "validation")},
            )
        writer.append("end", status=status, reason=reason, seconds=1.0)
    found = store.run(spec.run_id)
    assert found is not None
    return found


def _split(top1: float | None) -> dict[str, Any] | None:
    return None if top1 is None else {"top1": top1, "nll": 1.0, "n": 40}
