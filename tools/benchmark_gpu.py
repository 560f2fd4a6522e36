"""What is to be reached on a GPU such as an H200, and which rows of which benchmark answer it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COMMAND = "make bench-self DEVICE=cuda"
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class GpuFigure:
    """A line of the page's table. It is answered by the rows of `benchmark` with this target (and baseline, if given).

    unit: what a ratio of 1 stands for.
    """

    what: str
    benchmark: str
    target: str
    baseline: str = ""
    unit: float = 1.0

    def rows(self, benchmarks: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The rows of a machine's benchmarks that answer it."""
        rows = benchmarks.get(self.benchmark, {"rows": []})["rows"]
        return [row for row in rows if row["target"] == self.target and self.baseline in ("", row["baseline"])]


GPU_FIGURES = (
    GpuFigure("Sinkhorn, B 128, n 16 and 49, 100 iterations, against the plain log loop", "sinkhorn", ">= 100"),
    GpuFigure("the same against POT one by one, NumPy and torch", "sinkhorn", ">= 2000"),
    GpuFigure("AlignMix step / Mixup step, ResNet-18 CIFAR, B 128 and 512", "mixing_step", "<= 1.05", "mixup step"),
    GpuFigure("Mixup, CutMix, Manifold Mixup step / ERM step, same nets", "mixing_step", "<= 1.02", "erm step"),
    GpuFigure("AugMix + JSD step / 3 ERM steps, same nets", "mixing_step", "<= 1.05", "3 erm steps"),
    GpuFigure("batched AugMix at 32 px against PIL on a core of the same machine", "augmix", ">= 200"),
    GpuFigure("ResNet-18 CIFAR training, bf16, B 512, images/s; target 50,000", "training_epoch", ">= 1",
              "50,000 images/s", 50_000.0),
    GpuFigure("its crop, flip, draws and views / whole step", "step_overhead", "<= 0.05"),
    GpuFigure("whole step / its forward, backward and optimiser", "step_overhead", "<= 1.03"),
)  # fmt: skip


def gpu_table(machines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The figures with what each GPU's benchmarks found, the cases in the order of the rows below."""
    gpus = [results for results in machines if results["device"] == "cuda"]
    names = [results["hardware"] for results in gpus] or ["measured"]
    if not gpus:
        yield from (f"No GPU was at hand. `{COMMAND}` on a machine that has one fills this in.", "")
    else:
        yield from (f"Written by `{COMMAND}`, the cases in the order of the rows above.", "")
    yield f"| what | target | {' | '.join(names)} |"
    yield "| :-- | --: |" + " --: |" * len(names)
    for figure in GPU_FIGURES:
        cells = [_cell(figure, results["benchmarks"]) for results in gpus] or [NOT_MEASURED]
        yield f"| {figure.what} | {figure.target} | {' | '.join(cells)} |"


def _cell(figure: GpuFigure, benchmarks: Mapping[str, Any]) -> str:
    found = [float(row["ratio"]) * figure.unit for row in figure.rows(benchmarks)]
    text = "{:,.0f}" if figure.unit != 1 else "{:.3g}"
    return ", ".join(text.format(value) for value in found) or NOT_MEASURED
