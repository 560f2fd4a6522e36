"""One look at a model at work: what each stage puts out, which norms come later, and what leads to the head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Survey(NamedTuple):
    """outputs: what each asked module put out, call by call. logits: what the model put out.

    later: for each asked module the BatchNorms that ran after it. tail: the modules that turn the last stage's output
    into what `model.forward_head` takes, in order; a string says why they cannot be told.
    """

    outputs: dict[str, list[Any]]
    logits: Any
    later: dict[str, tuple[nn.Module, ...]]
    tail: tuple[nn.Module, ...] | str


class _Tail:
    """Follows a tensor from module to module by identity: each one must take exactly what the one before gave.

    So a chain that is found is the model's own calculation; anything between modules (a function, a transpose, a
    skip connection) breaks it.
    """

    def __init__(self, start: nn.Module) -> None:
        self.start = start
        self.modules: list[nn.Module] = []
        self.current: Tensor | None = None
        self.inside: nn.Module | None = None
        self.finished = False
        self.unbroken = False

    def enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        following = self.current is not None and self.inside is None and not self.finished
        if following and len(inputs) == 1 and inputs[0] is self.current:
            self.inside = module

    def leave(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if module is self.start and self.current is None:
            self.current = output
        elif module is self.inside:
            self.modules.append(module)
            self.current, self.inside = output, None

    def reach_head(self, features: Tensor) -> None:
        if not self.finished:
            self.finished = True
            self.unbroken = features is self.current

    def result(self, name: str) -> tuple[nn.Module, ...] | str:
        if not self.finished:
            return "the model does not end in its own forward_head"
        if not self.unbroken:
            return f"what happens between {name} and the head is not a chain of modules"
        return tuple(self.modules)


@torch.no_grad()
def survey(model: nn.Module, image: Tensor, names: Sequence[str]) -> Survey:
    """Run `image` (1, C, H, W) through the model in eval mode and note what happens; the model is left as it was.

    names: modules of the model, shallow to deep; the last one is the last stage. Raises what the model raises.
    """
    outputs: dict[str, list[Any]] = {name: [] for name in names}
    modules = {name: model.get_submodule(name) for name in names}
    tail = _Tail(modules[names[-1]]) if names else None
    norms: list[nn.Module] = []
    norms_before: dict[str, int] = {}

    def note(name: str, output: Any) -> None:
        outputs[name].append(output)
        norms_before[name] = len(norms)

    handles = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: note(name, output))
        for name, module in modules.items()
    ]
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            handles.append(module.register_forward_hook(lambda norm, _inputs, _output: norms.append(norm)))
    if tail is not None:
        for module in model.modules():
            if module is not model:
                handles.append(module.register_forward_pre_hook(tail.enter))
                handles.append(module.register_forward_hook(tail.leave))
    was_training = model.training
    try:
        with _watched_head(model, tail):
            logits = model.eval()(image)
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    later = {name: tuple(norms[count:]) for name, count in norms_before.items()}
    chain = tail.result(names[-1]) if tail is not None else "the model has no stage to edit"
    return Survey(outputs, logits, later, chain)


@contextmanager
def _watched_head(model: Any, tail: _Tail | None) -> Iterator[None]:
    head = getattr(model, "forward_head", None)
    if tail is None or head is None:
        yield
        return

    def watched(features: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        tail.reach_head(features)
        return head(features, *args, **kwargs)

    model.forward_head = watched
    try:
        yield
    finally:
        del model.forward_head
