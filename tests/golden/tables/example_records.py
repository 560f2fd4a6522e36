"""Small records made by hand for the tests of tables and figures; the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.records import RecordWriter, evaluation_file
from bench.spec import BackboneSpec, DataSpec, ExceptionSpec, Labels, MethodSpec, ProtocolSpec, Spec

CORRUPTIONS = ("noise", "blur")
SEVERITIES = (1, 2)
RADII = (1.0, 4.0)
EPOCHS = 2


def make_spec(
    method: str = "erm", seed: int = 0, *, implementation: str | None = None, data: str = "digits-5",
    backbone: str = "test_resnet", protocol: str = "digits-100ep", epochs: int = EPOCHS,
    exceptions: tuple[ExceptionSpec, ...] = (), parameters: Mapping[str, Any] | None = None,
) -> Spec:  # fmt: skip
    """A complete spec that differs from others in what is given."""
    return Spec(
        data=DataSpec(source="digits", resolution=32, channels=1, mean=(0.5,), std=(0.5,), digest=f"digest of {data}"),
        backbone=BackboneSpec(name=backbone),
        protocol=ProtocolSpec(epochs=epochs, batch_size=25, learning_rate=0.1, exceptions=exceptions),
        method=MethodSpec(implementation=implementation or method, parameters=dict(parameters or {})),
        seed=seed,
        labels=Labels(data=data, backbone=backbone, protocol=protocol, method=method),
    )


def write_run(
    root: Path, spec: Spec, top1: float | None, *, attempt: str = "20260102T000000.000000Z-00000001",
    status: str | None = "ok", reason: str | None = None, best: float | None = None, source: str = "source-1",
    planned: Sequence[int] = (), schema: int = 1, torch: str = "2.6.0", diagnostics: Mapping[str, float] | None = None,
) -> Path:  # fmt: skip
    """A run's record: epochs with `best` in all but the last, which has `top1`."""
    folder = root / spec.run_id / attempt
    with RecordWriter(folder / "train.jsonl") as writer:
        writer.append(
            "begin", schema=schema, run_id=spec.run_id, spec=spec.model_dump(mode="json"),
            labels=spec.labels.model_dump(), provenance={"torch_build": torch}, source_digest=source,
            planned=list(planned),
        )  # fmt: skip
        for epoch in range(1, EPOCHS + 1):
            last = epoch == EPOCHS
            if last and top1 is None:
                break
            share = top1 if last else best if best is not None else (top1 or 0.5) - 0.1
            test = {"top1": share, "nll": 0.5, "n": 1000}
            writer.append("epoch", epoch=epoch, train_loss=1 / epoch, learning_rate=0.1, seconds=1.0, test=test)
        for name, value in (diagnostics or {}).items():
            writer.append("diagnostic", name=name, value=value)
        if status is not None:
            writer.append("end", status=status, reason=reason, seconds=2.0)
    return folder


def write_clean(folder: Path, top1: float, *, top5: float | None = 0.99) -> None:
    """What the clean evaluator records."""
    values = {"top1": top1, "top5": top5, "nll": 1 - top1, "ece_15": 0.05, "ece_15_floor": 0.03}
    lines = [(name, value, {}) for name, value in values.items() if value is not None]
    write_metrics(folder, "clean", "Clean accuracy", lines)


def write_robustness(folder: Path, top1: float, *, severities: Iterable[int] = SEVERITIES, digest: str = "d1") -> None:
    """What a corruption evaluator and FGSM record: accuracy falls with severity and radius."""
    corrupted = [
        ("corruption_top1", top1 - 0.1 * severity - 0.05 * place, {"corruption": name, "severity": severity})
        for place, name in enumerate(CORRUPTIONS)
        for severity in severities
    ]
    write_metrics(folder, "digits-corruptions", "Digits corruptions (own severities)", corrupted, digest=digest)
    attacked = [("fgsm_top1", top1 / (1 + radius), {"eps_255": radius}) for radius in RADII]
    write_metrics(folder, "fgsm", "FGSM (one step; legacy)", [("fgsm_clean_top1", top1, {}), *attacked])


def write_metrics(
    folder: Path, evaluator: str, title: str, metrics: Iterable[tuple[str, float | None, dict[str, Any]]],
    *, digest: str = "d1", version: str = "1",
) -> None:  # fmt: skip
    """An evaluator's record."""
    with RecordWriter(evaluation_file(folder, evaluator, version)) as writer:
        writer.append("begin", eval=evaluator, title=title, digest=digest)
        for name, value, detail in metrics:
            writer.append("metric", name=name, value=value, detail=detail)
        writer.append("end", status="ok")


def write_session(
    root: Path, seconds: Sequence[tuple[Spec, Sequence[float]]], *, name: str = "20260102T000000.000000Z-00000001",
    hardware: str = "Example CPU, 2 thread(s)", torch: str = "2.6.0", precision: str = "fp32",
    status: str | None = "ok", digests: Mapping[str, str] | None = None, skipped: Sequence[tuple[Spec, str]] = (),
    twin: Sequence[float] | None = None, scaling: Mapping[str, Any] | None = None, **arm_fields: Any,
) -> Path:  # fmt: skip
    """A timing session with one sample of each spec a round. twin: times of the first spec's second network.

    arm_fields: further fields of all arm lines.
    """
    specs = [spec for spec, _ in seconds]
    rounds = len(seconds[0][1])
    path = root / "speed" / f"{name}.jsonl"
    with RecordWriter(path) as writer:
        writer.append(
            "begin", hardware=hardware, precision=precision, torch=torch, cell=specs[0].cell,
            labels=specs[0].labels.model_dump(), settings={"rounds": rounds},
            source_digests=dict(digests or {}), batch_size=25, **({"scaling": dict(scaling)} if scaling else {}),
        )  # fmt: skip
        for spec, reason in skipped:
            writer.append("arm", arm=spec.arm, label=spec.labels.method, skipped=reason)
        for place, spec in enumerate(specs):
            writer.append(
                "arm", arm=spec.arm, label=spec.labels.method, passes_per_step=1.0 + place,
                peak_memory=None if place else 2**20 * 300, images_per_step=25, **arm_fields,
            )  # fmt: skip
        again = f"{specs[0].arm} (again)"
        if twin is not None:
            writer.append("arm", arm=again, label=f"{specs[0].labels.method} (again)", twin_of=specs[0].arm)
        for number in range(rounds):
            for spec, samples in seconds:
                writer.append("sample", arm=spec.arm, label=spec.labels.method, round=number, seconds=samples[number])
            if twin is not None:
                writer.append("sample", arm=again, label="", round=number, seconds=twin[number])
        if status is not None:
            writer.append("end", status=status)
    return path


def write_study(
    root: Path, methods: Mapping[str, Sequence[float]], *, steps: Mapping[str, float] | None = None, **spec: Any
) -> list[Spec]:
    """A complete study: per method one top-1 a seed, robustness and, where `steps` says, step times. The plan."""
    plan: list[Spec] = []
    timed: list[tuple[Spec, list[float]]] = []
    for method, values in methods.items():
        for seed, top1 in enumerate(values):
            made = make_spec(method, seed, **spec)
            folder = write_run(root, made, top1, planned=range(len(values)))
            write_clean(folder, top1)
            write_robustness(folder, top1)
            plan.append(made)
            if steps is not None and method in steps and seed == 0:
                timed.append((made, [steps[method] * (1 + 0.01 * (number % 4)) for number in range(8)]))
    if timed:
        write_session(root, timed)
    return plan
