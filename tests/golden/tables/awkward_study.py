"""A study in which nearly everything that can happen to a record has happened to one."""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.records import RecordWriter, evaluation_file
from bench.spec import ExceptionSpec, Spec
from tests.golden.tables.example_records import (
    make_spec,
    write_clean,
    write_metrics,
    write_robustness,
    write_run,
    write_session,
)

SEEDS = (0, 1, 2)
METHODS = ("erm", "mixup", "cutmix", "augmix", "manifold_mixup", "alignmix", "puzzlemix", "resizemix")
LOSS = ExceptionSpec(
    method="manifold_mixup", set={"loss": "binary_cross_entropy"}, reason="as in the code that its authors published"
)
OLD, NEW = "20260101T000000.000000Z-0000000a", "20260102T000000.000000Z-0000000b"


def awkward_spec(method: str, seed: int) -> Spec:
    """The spec of one planned run."""
    exceptions = (LOSS,) if method == "manifold_mixup" else ()
    return make_spec(method, seed, exceptions=exceptions)


def awkward_plan() -> list[Spec]:
    """Every planned run in suite order."""
    return [awkward_spec(method, seed) for seed in SEEDS for method in METHODS]


def write_awkward_study(root: Path) -> None:
    """Write the records below `root`."""
    _finished(root, "erm", (0.850, 0.861, 0.842))
    _two_attempts(root)
    _diverged(root)
    for seed in SEEDS:
        write_run(
            root, awkward_spec("augmix", seed), None, status="skipped", reason="needs three channels", planned=SEEDS
        )
    _crashed(root)
    _finished(
        root, "alignmix", (0.866, 0.874, 0.859), {"alignment_effect_to_first": 2e-7, "alignment_effect_to_second": 0.04}
    )
    for seed in SEEDS:
        write_run(root, awkward_spec("resizemix", seed), 0.99, schema=0, planned=SEEDS)
    _unreadable(root)
    _speed(root)


def _finished(root: Path, method: str, values: tuple[float, ...], diagnostics: dict[str, float] | None = None) -> None:
    for seed, top1 in enumerate(values):
        spec = awkward_spec(method, seed)
        folder = write_run(root, spec, top1, best=top1 + 0.01, diagnostics=diagnostics, planned=SEEDS, attempt=NEW)
        write_clean(folder, top1)
        write_robustness(folder, top1)


def _two_attempts(root: Path) -> None:
    """mixup: seed 0 failed before it ended ok, seed 1 ended ok twice and is copied, seed 2 lacks a severity."""
    write_run(root, awkward_spec("mixup", 0), None, status="error", reason="worker died", attempt=OLD, planned=SEEDS)
    write_run(root, awkward_spec("mixup", 1), 0.1, attempt=OLD, planned=SEEDS)
    for seed, top1 in enumerate((0.858, 0.872, 0.849)):
        spec = awkward_spec("mixup", seed)
        folder = write_run(root, spec, top1, attempt=NEW, planned=SEEDS, torch="2.7.0" if seed else "2.6.0")
        write_clean(folder, top1, top5=None)
        write_robustness(folder, top1, severities=(1,) if seed == 2 else (1, 2))
    copied = awkward_spec("mixup", 1).run_id
    shutil.copytree(root / copied, root / f"{copied} (copy)")
    shutil.copytree(root / copied / NEW, root / copied / f"{NEW} (copy)")


def _diverged(root: Path) -> None:
    """cutmix: seed 1 diverged, and seed 0 was trained by another version of the source."""
    for seed, top1 in ((0, 0.90), (2, 0.91)):
        folder = write_run(root, awkward_spec("cutmix", seed), top1, planned=SEEDS, source=f"source-{seed}")
        write_clean(folder, top1)
        write_robustness(folder, top1 - 0.1, digest="d1")
    write_run(
        root, awkward_spec("cutmix", 1), None, status="diverged", reason="loss not finite\nin epoch 2", planned=SEEDS
    )


def _crashed(root: Path) -> None:
    """manifold_mixup: seed 0 ok and evaluated with other settings, seed 1 without an end, seed 2 torn inside it."""
    folder = write_run(root, awkward_spec("manifold_mixup", 0), 0.88, planned=SEEDS)
    write_clean(folder, 0.88)
    write_robustness(folder, 0.88, digest="other settings")
    with RecordWriter(evaluation_file(folder, "clean", "1")) as writer:
        writer.append("metric", name="nll", value=float("nan"), detail={})
    write_run(root, awkward_spec("manifold_mixup", 1), 0.87, status=None, planned=SEEDS)
    path = write_run(root, awkward_spec("manifold_mixup", 2), 0.86, planned=SEEDS) / "train.jsonl"
    path.write_bytes(path.read_bytes()[:-30])


def _unreadable(root: Path) -> None:
    """A record whose first line is damaged, one whose spec is not its own, a loose file and an empty folder."""
    lost = write_run(root, make_spec("erm", 90), 0.5) / "train.jsonl"
    lost.write_bytes(lost.read_bytes().replace(b'"seed":90', b'"seed":91', 1))
    stranger = make_spec("erm", 80)
    with RecordWriter(root / stranger.run_id / NEW / "train.jsonl") as writer:
        writer.append(
            "begin", schema=1, run_id=stranger.run_id, spec=make_spec("erm", 81).model_dump(mode="json"), labels={}
        )
    (root / "notes.txt").write_text("not a record")
    (root / "empty").mkdir()
    write_metrics(root / "orphan" / NEW, "clean", "no training beside it", [("top1", 0.3, {})])


def _speed(root: Path) -> None:
    """An old session with other settings, one that was interrupted, and the one that counts."""
    specs = {method: awkward_spec(method, 0) for method in METHODS}
    write_session(root, [(specs["erm"], [9.0]), (specs["mixup"], [9.0])], name=OLD, hardware="Another machine")
    write_session(root, [(specs["erm"], [9.0] * 8)], name="20260103T000000.000000Z-0000000c", status=None)
    base = [0.020, 0.022, 0.019, 0.021, 0.050, 0.020, 0.0205, 0.0215]
    timed = [(specs["erm"], base), (specs["mixup"], [step * 1.1 for step in base])]
    timed.append((specs["alignmix"], [step * (1.5 + 0.02 * place) for place, step in enumerate(base)]))
    write_session(root, timed, name=NEW, skipped=[(specs["augmix"], "needs three channels")])
