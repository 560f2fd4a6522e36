"""Losses of twenty training steps of every implementation, to notice when a method changes without meaning to.

python tests/contract/loss_traces.py [NAME ...] writes tests/golden/loss_traces.json anew, all or the named ones.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from contract_cells import TASK, Cell, make_cell, make_images, running_cells

from bench.config.catalogue import method_names
from methods.api import guided

FILE = Path(__file__).resolve().parent.parent / "golden" / "loss_traces.json"
STEPS = 20
SIZE = 8
LEARNING_RATE = 0.002
"""Small, because batch statistics of eight images amplify rounding, which differs between processors: at 0.02 twenty
steps made 1e-7 into 5e-3 and more, at 0.002 into 4e-4 at most."""


def trace(name: str) -> list[float]:
    """The total loss of each step of plain SGD on one keyed batch a step, on the first small network that fits."""
    net = next(net for arm, net in running_cells([name]) if arm == name)
    cell = make_cell(name, net, size=SIZE)
    parameters = [*cell.backbone.parameters(), *cell.method.parameters()]
    optimizer = torch.optim.SGD([one for one in parameters if one.requires_grad], lr=LEARNING_RATE)
    images = make_images(SIZE * 4)
    losses: list[float] = []
    for step in range(STEPS):
        places = torch.arange(step * SIZE, (step + 1) * SIZE) % len(images)
        losses.append(_step(Cell(name, cell.method, cell.backbone, images[places], places % TASK.num_classes), step))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        cell.method.after_step(cell.backbone, (step + 1) / STEPS)
    return losses


def _step(cell: Cell, number: int) -> float:
    draws = cell.draw("trace", number)
    batch = cell.batch(draws)
    loss = cell.method.loss(cell.backbone, batch, guided(cell.method, cell.backbone, batch, draws))
    loss.total.backward()
    cell.method.remember(batch, loss.carry)
    return float(loss.total.detach())


def main(names: list[str]) -> int:
    """Write the file."""
    torch.set_num_threads(1)
    known: dict[str, list[float]] = json.loads(FILE.read_text()) if FILE.is_file() else {}
    for name in names or method_names():
        known[name] = [round(loss, 6) for loss in trace(name)]
    found = {name: known[name] for name in method_names() if name in known}
    lines = [f' "{name}": {json.dumps(losses)}' for name, losses in sorted(found.items())]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
