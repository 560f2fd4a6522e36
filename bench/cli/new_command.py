"""`mixbench new`."""

from __future__ import annotations

import argparse
import keyword
import re
from pathlib import Path

import methods
from bench.config.catalogue import method_names
from bench.config.folders import shipped_configs
from bench.errors import BadInput

METHOD = '''"""{title}: say in one paragraph what it mixes and why."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, Normalise, mixed_loss
from methods.ops.keys import Key


class {class_name}(Method):
    """{title}.

    A starting point that works: input mixing with one lam a batch. Change `draw` (all randomness, on the host),
    `views` (what the network sees) and `loss`. State the definition, its source and every deviation here.
    """

    version = "1"
    title = "{title}"
    paper = ""
    family = "input"
    venue = ""
    mixes = "input"
    proved = ""

    def __init__(self, *, alpha: Annotated[float, Ge(0)] = 1.0) -> None:
        """alpha: lam ~ Beta(alpha, alpha), the weight of an image's own label; 0 switches mixing off."""
        super().__init__()
        self.alpha = alpha

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """lam () float32 and permutation (B,) int64."""
        generator = key.generator()
        lam = generator.beta(self.alpha, self.alpha) if self.alpha > 0 else 1.0
        permutation = generator.permutation(shape.size)
        tensors = {{"lam": torch.tensor(lam, dtype=torch.float32), "permutation": torch.from_numpy(permutation)}}
        return Draws("mix", tensors)

    def views(self, images: Tensor, normalise: Normalise, draws: Draws) -> tuple[Tensor, ...]:
        """One view (B, C, H, W): lam * image + (1 - lam) * partner."""
        own = normalise(images)
        return (draws["lam"] * own + (1 - draws["lam"]) * own[draws["permutation"]],)

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """The loss of the mixed label."""
        logits = backbone(batch.views[0])
        total = mixed_loss(self.task.criterion, logits, batch.labels, draws["permutation"], draws["lam"])
        return Loss(total, {{"share_kept": draws["lam"].mean()}})
'''
CONFIG = """implementation: {name}
title: {title}
alpha: 1.0
search:
  alpha: {{low: 0.1, high: 4.0, scale: log}}
"""


def run(options: argparse.Namespace) -> int:
    """Write methods/NAME.py and configs/method/NAME.yaml; never overwrite."""
    name = str(options.name)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name) or name in ("api", "ops"):
        raise BadInput(
            f"'{name}' cannot name a method: use small letters, digits and underscores, not a Python keyword"
        )
    if name in method_names():
        raise BadInput(f"there is a method '{name}' already; choose another name")
    if shipped_configs().name == "_configs":
        raise BadInput(
            "`mixbench new` writes into a source checkout, and this is an installed package; put the method into "
            "your own package and name it under the entry-point group mixbench.methods"
        )
    title = name.replace("_", " ").capitalize()
    class_name = "".join(part.capitalize() for part in name.split("_"))
    files = {
        Path(methods.__path__[0]) / f"{name}.py": METHOD.format(title=title, class_name=class_name),
        shipped_configs() / "method" / f"{name}.yaml": CONFIG.format(name=name, title=title),
    }
    for path in files:
        if path.exists():
            raise BadInput(f"{path} exists already; nothing was written")
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")
    method_file = next(iter(files))
    here = Path.cwd()
    shown = method_file.relative_to(here) if method_file.is_relative_to(here) else method_file
    print(f"\nNext:\n  mixbench check {shown}")
    print(f"  mixbench run quickstart --set 'methods=[erm,mixup,{name}]' --set seeds=2")
    print("What to edit, and what is needed before anybody trusts it: docs/adding-a-method.md")
    return 0
