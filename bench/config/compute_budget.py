"""Equal compute: epochs of every method fitted, before the start, to what the reference's training costs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config.folders import ConfigFolders
from bench.config.validation import validated
from bench.config.yaml_file import YamlFile, read_yaml
from bench.errors import BadInput, nearest
from bench.spec import ExceptionSpec, PositiveFloat, PositiveInt, ProtocolSpec, Scalar, Section, canonical_json

LABEL = "equal-compute"
"""Added to the protocol's name in every table."""


class CostCell(Section):
    """Step times of one data, backbone and protocol relative to the reference's. rounds: fewest rounds behind one."""

    data: str
    backbone: str
    protocol: str
    batch_size: PositiveInt
    precision: str
    rounds: PositiveInt
    ratios: dict[str, PositiveFloat]


class CostFile(Section):
    """What a file in configs/cost may say: step times on one machine, as `mixbench speed --write-cost` writes it."""

    title: str
    hardware: str
    torch: str
    reference: str
    cells: tuple[CostCell, ...]


@dataclass(frozen=True)
class CostTable:
    """A cost file, and where it stands for messages."""

    file: CostFile
    path: Path

    def budget(self, cell: CostCell) -> str:
        """What tells one budget from another: the hardware and a digest of the reference and the ratios."""
        content = canonical_json([self.file.reference, {name: round(r, 6) for name, r in cell.ratios.items()}])
        return f"{self.file.hardware} {hashlib.blake2b(content.encode(), digest_size=4).hexdigest()}"

    def cell(self, data: str, backbone: str, protocol: str, settings: ProtocolSpec) -> CostCell:
        """The step times of one cell; BadInput where it was not timed, or timed with another batch or precision."""
        names = f"{data} / {backbone} / {protocol}"
        known = {f"{cell.data} / {cell.backbone} / {cell.protocol}": cell for cell in self.file.cells}
        if names not in known:
            raise BadInput(f"{self.path}: has no step times for {names}; {nearest(names, known)}")
        cell = known[names]
        for key in ("batch_size", "precision"):
            timed, planned = getattr(cell, key), getattr(settings, key)
            if timed != planned:
                raise BadInput(f"{self.path}: {names} was timed with {key} {timed}, and the protocol has {planned}")
        return cell

    def exception(self, cell: CostCell, arm: str, implementation: str, protocol: ProtocolSpec) -> ExceptionSpec | None:
        """The fitted epochs and schedule of a method as an exception from its protocol; None for the reference."""
        if arm == self.file.reference:
            return None
        if arm not in cell.ratios:
            raise BadInput(f"{self.path}: has no step time of '{arm}'; {nearest(arm, cell.ratios)}")
        if any("batch_size" in own.set for own in protocol.exceptions):
            raise BadInput(
                f"{self.path}: '{arm}' has a batch size of its own, so a ratio of step times says too little"
            )
        ratio = cell.ratios[arm]
        fitted = fit_schedule(protocol, ratio)
        epochs = protocol.model_copy(update=fitted).epochs
        share = epochs * ratio / protocol.epochs
        reason = (
            f"equal compute: a step takes {ratio:.3g} x {self.file.reference}'s on {self.file.hardware}, whose "
            f"{protocol.epochs} epochs pay for {epochs} ({share:.1%} of the budget)"
        )
        return ExceptionSpec(method=implementation, set=fitted, reason=reason)


def read_cost(given: str, suite: Path, folders: ConfigFolders, asked_in: str) -> CostTable:
    """A cost table by name (configs/cost/NAME.yaml) or by path, seen from the suite's folder or from here."""
    path = Path(given)
    if path.suffix in (".yaml", ".yml"):
        beside = suite.resolve().parent / path
        path = beside if beside.is_file() else path
    else:
        path = folders.get("cost", given, asked_in)
    file: YamlFile = read_yaml(path)
    return CostTable(validated(CostFile, file.values, file.where), path)


def fit_schedule(protocol: ProtocolSpec, ratio: float) -> dict[str, Scalar | tuple[int, ...]]:
    """Epochs, warm-up and milestones for a method whose step takes `ratio` times the reference's.

    epochs = round(protocol.epochs / ratio), halves up, at least 1; warm-up and milestones keep their share of the run,
    and warm-up leaves an epoch at least. Cosine follows from the epochs. Only epochs and what differs are given.
    """
    epochs = max(1, _rounded(protocol.epochs / ratio))
    found: dict[str, Any] = {"epochs": epochs}
    share = epochs / protocol.epochs
    warmup = min(_rounded(protocol.warmup_epochs * share), epochs - 1)
    if warmup != protocol.warmup_epochs:
        found["warmup_epochs"] = warmup
    milestones = tuple(sorted({max(1, _rounded(milestone * share)) for milestone in protocol.milestones}))
    if milestones != protocol.milestones:
        found["milestones"] = milestones
    return found


def _rounded(value: float) -> int:
    return int(value + 0.5)
