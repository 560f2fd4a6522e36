"""Measure what every method keeps, how its labels follow its pixels and how often it passes the network.

python tools/method_facts.py [--draws N] [NAME ...]   writes configs/method-facts.json, all methods or the named ones

--draws: 10,000 unless told, which takes a CPU core about ten minutes for each of Co-Mixup and PuzzleMix and seconds to
three minutes for each other one. Everything is keyed, so that the same code gives the same numbers.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import torch
from torch import Tensor

from bench.backbones.adapter import TimmBackbone
from bench.backbones.build import build_backbone
from bench.config.catalogue import method_facts, method_names
from bench.config.folders import ConfigFolders, shipped_configs
from bench.config.sections import resolve_method
from bench.data.normalise import Normaliser
from bench.data.open import open_data
from bench.evals.mixed_labels import Step, labelled_step
from bench.run.build import build_method
from bench.sources import import_closure
from bench.spec import BackboneSpec, DataSpec, ProtocolSpec
from bench.speed.passes import count_all_passes
from bench.train.criterion import build_criterion
from methods.api import Batch, BatchShape, Draws, Method, Task, guided
from methods.ops.keys import Key
from tools import share_kept
from tools.share_kept import Kept

FILE = shipped_configs() / "method-facts.json"
BACKBONES = ("test_resnet", "test_vit")
CLASSES, BATCH, RESOLUTION = 16, 16, 64
LABEL_STEPS = 64
DRAWS = 10_000
PROGRESS = 0.5


def main(arguments: list[str]) -> int:
    """Measure and write; 0."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--draws", type=int, default=DRAWS)
    options = parser.parse_args(arguments)
    known: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
    images = real_images()
    for name in options.names or method_names():
        print(f"{name} ...", file=sys.stderr, flush=True)
        known[name] = measure(name, images, options.draws)
    found = {name: known[name] for name in sorted(known) if name in method_names()}
    FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def real_images() -> tuple[Tensor, Tensor]:
    """scikit-learn's digits, enlarged, as uint8 with three equal channels, and their labels."""
    data = DataSpec(source="digits", resolution=RESOLUTION, channels=1, mean=(0.3,), std=(0.3,), train_per_class=5)
    images, labels = next(open_data(data, "cpu").evaluation["test"].batches(1024))
    return images.expand(-1, 3, -1, -1).contiguous(), labels


def measure(name: str, images: tuple[Tensor, Tensor], draws: int) -> dict[str, Any]:
    """What the page and `mixbench list` tell of one implementation with its default parameters."""
    method, backbone = fitting(name)
    passes = pass_count(method, backbone, images)
    found: dict[str, Any] = {"source": source(name), "backbone": backbone.model.__class__.__name__, "passes": passes}
    if method.mixes == "nothing":
        return {**found, "share_kept": None, "label_gap": None}
    share = kept(method, backbone, images[0], draws).summary()
    gap = label_gap(method, backbone)
    return {**found, "share_kept": share, "label_gap": None if gap is None else round(gap, 4)}


def source(name: str) -> str:
    """Digest of the method's own files, to tell whether the facts are of the current code."""
    import hashlib

    total = hashlib.blake2b(digest_size=8)
    for path in import_closure(method_facts(name).path):
        total.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return total.hexdigest()


def fitting(name: str) -> tuple[Method, TimmBackbone]:
    """The method with its shipped arm's parameters, set up for the first small backbone that it runs on."""
    folders = ConfigFolders()
    spec = resolve_method(name, "method facts", folders, []).spec
    protocol = ProtocolSpec(epochs=1, batch_size=BATCH, learning_rate=0.1)
    task = Task(CLASSES, build_criterion(protocol, CLASSES), (3, RESOLUTION, RESOLUTION))
    for net in BACKBONES:
        backbone = build_backbone(BackboneSpec(name=net), CLASSES, 3, RESOLUTION, seed=0)
        method = build_method(spec)
        if method.skip(backbone, task) is None:
            method.setup(backbone, task)
            return method, backbone
    raise SystemExit(f"{name}: runs on none of {', '.join(BACKBONES)}")


def pass_count(method: Method, backbone: TimmBackbone, images: tuple[Tensor, Tensor]) -> float:
    """Images through this network and copies of it inside the method, per image and step, mean over 32 steps.

    A method with a history has none in the first of them, and may make up for it there.
    """
    normalise = Normaliser((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    with count_all_passes(backbone, method) as passed:
        for number in range(32):
            draws = method.draw(Key("passes", number), BatchShape(BATCH, 3, RESOLUTION, RESOLUTION, number / 32))
            with torch.no_grad():
                views = method.views(images[0][:BATCH], normalise, draws)
            batch = Batch(views, images[1][:BATCH])
            loss = method.loss(backbone, batch, guided(method, backbone, batch, draws))
            method.remember(batch, loss.carry)
        return round(passed() / (32 * BATCH), 3)


def kept(method: Method, backbone: TimmBackbone, images: Tensor, draws: int) -> Kept:
    """The share kept over so many draws, on batches that go round the images, with labels that are all different."""
    labels, shape = torch.arange(BATCH), BatchShape(BATCH, 3, RESOLUTION, RESOLUTION, PROGRESS)
    normalise = Normaliser((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))

    def take_step(number: int) -> Step:
        places = torch.arange(number * BATCH, (number + 1) * BATCH) % len(images)
        return labelled_step(backbone, method, images[places], labels, normalise, Key("facts", number), PROGRESS)

    def draw(number: int) -> Draws:
        return method.draw(Key("facts", number), shape)

    return share_kept.measure(take_step, draw, shape, draws)


def label_gap(method: Method, backbone: TimmBackbone) -> float | None:
    """Largest distance between an image's mean brightness and the weight of the white class, where black and white
    images are mixed in pixel space; None where none is."""
    labels = torch.arange(BATCH) % 2
    images = (labels * 255).to(torch.uint8)[:, None, None, None].expand(-1, 3, RESOLUTION, RESOLUTION).contiguous()
    normalise = Normaliser((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    gaps: list[float] = []
    for number in range(LABEL_STEPS):
        step = labelled_step(backbone, method, images, labels, normalise, Key("labels", number))
        for seen in step.passes:
            used = seen.weights.sum(1) > 0
            if not seen.edited and used.any():
                brightness = seen.images.flatten(1).mean(1)
                gaps.append(float((brightness - seen.targets()[:, 1]).abs()[used].max()))
    return max(gaps) if gaps else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
