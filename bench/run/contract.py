"""What every method owes the harness, checked on one small backbone in a few seconds."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import torch

from bench.backbones.build import build_backbone
from bench.data.normalise import Normaliser
from bench.run.build import build_method
from bench.spec import BackboneSpec, MethodSpec
from methods.api import Batch, BatchShape, Criterion, Draws, Method, Task, guided
from methods.ops.keys import Key

SIZE, CLASSES, RESOLUTION, STEPS = 6, 4, 64, 8


def contract_problems(spec: MethodSpec) -> list[str]:
    """Sentences on what a method breaks: finite loss, gradients, same key same bits, no global random state, batch
    not changed, state round trip. Empty when all holds. A method that skips this backbone is only asked for a reason.
    """
    backbone = build_backbone(BackboneSpec(name="test_resnet"), CLASSES, 3, RESOLUTION, seed=0)
    method = build_method(spec)
    criterion: Criterion = lambda logits, labels: torch.nn.functional.cross_entropy(logits, labels, reduction="none")  # noqa: E731
    task = Task(CLASSES, criterion, (3, RESOLUTION, RESOLUTION))
    reason = method.skip(backbone, task)
    if reason is not None:
        return [] if reason.strip() else ["skip() returned an empty reason"]
    method.setup(backbone, task)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (SIZE, 3, RESOLUTION, RESOLUTION), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, CLASSES, (SIZE,), generator=generator)
    normalise = Normaliser((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))

    def prepare(number: int) -> tuple[Draws, tuple[torch.Tensor, ...]]:
        draws = method.draw(Key(0, number), BatchShape(SIZE, 3, RESOLUTION, RESOLUTION, number / STEPS))
        with torch.no_grad():
            return draws, method.views(images, normalise, draws)

    problems: list[str] = []
    untouched = images.clone()
    before = _random_state()
    for number in range(STEPS):
        draws, views = prepare(number)
        kept = tuple(view.clone() for view in views)
        batch = Batch(views, labels)
        total = method.loss(backbone, batch, guided(method, backbone, batch, draws)).total
        again = method.draw(Key(0, number), BatchShape(SIZE, 3, RESOLUTION, RESOLUTION, number / STEPS))
        problems += _same_draws(draws, again)
        if total.ndim or not torch.isfinite(total):
            problems.append(f"loss is not one finite number (step {number}, branch '{draws.branch}')")
            break
        if not all(torch.equal(a, b) for a, b in zip(views, kept, strict=True)):
            problems.append(f"loss changed its batch (branch '{draws.branch}')")
            break
        total.backward()
    if not torch.equal(images, untouched):
        problems.append("views changed the images that it was given")
    if _random_state() != before:
        problems.append("draw, views or loss used a global random state; take everything from the key")
    problems += _without_gradient(backbone.model, "the backbone") + _without_gradient(method, "the method")
    problems += _state_round_trip(method, lambda: build_method(spec), backbone, task)
    return list(dict.fromkeys(problems))


def _same_draws(first: Draws, second: Draws) -> list[str]:
    same = first.branch == second.branch and first.tensors.keys() == second.tensors.keys()
    same = same and all(torch.equal(first[name], second[name]) for name in first.tensors)
    return [] if same else ["draw gave other numbers for the same key"]


def _random_state() -> tuple[bytes, str, int]:
    numpy_state = repr(np.random.get_state())  # noqa: NPY002 - the global state is what is watched
    return torch.get_rng_state().numpy().tobytes(), numpy_state, hash(random.getstate())


def _without_gradient(module: torch.nn.Module, whose: str) -> list[str]:
    named = [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]
    return [f"no gradient reached {len(named)} parameter(s) of {whose}, such as {named[0]}"] if named else []


def _state_round_trip(method: Method, build: Callable[[], Method], backbone: torch.nn.Module, task: Task) -> list[str]:
    other = build()
    other.setup(backbone, task)  # type: ignore[arg-type]
    try:
        other.load_state_dict(method.state_dict())
    except RuntimeError as error:
        return [f"its state does not load into a fresh method ({str(error).splitlines()[0]})"]
    return []
