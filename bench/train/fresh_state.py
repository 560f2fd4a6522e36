"""Bring a used module back to the state of a fresh one, in place: its tensors keep their memory."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

SCALARS = (bool, int, float, str, bytes, type(None), torch.dtype, torch.device)
FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, functools.partial, type)
OWN = frozenset(vars(nn.Module()))
"""What every module has of its own; torch keeps it in order."""


@torch.no_grad()
def pour(fresh: nn.Module, used: nn.Module, known_only: bool) -> bool:
    """Give `used` the weights, buffers, modes and plain attributes of `fresh`; False where that cannot be done.

    It cannot where modules or tensors differ in name, kind or shape; `used` is then left in between. Gradients are
    dropped. Attributes that are numbers, strings and the like, or lists, tuples, dicts and sets of them, are renewed;
    functions are taken to be the same in both. known_only: be False too where an attribute holds any other object, of
    which nobody knows whether training changed it; else such objects stay.
    """
    modules = _pairs(dict(fresh.named_modules()), dict(used.named_modules()))
    tensors = _pairs(dict(_tensors(fresh)), dict(_tensors(used)))
    if modules is None or tensors is None:
        return False
    if any(type(new) is not type(old) for new, old in modules) or not all(_alike(new, old) for new, old in tensors):
        return False
    for new, old in tensors:
        old.copy_(new)
        old.grad = None
    return all(_renew(new, old, known_only) for new, old in modules)


def _pairs(fresh: dict[str, Any], used: dict[str, Any]) -> list[tuple[Any, Any]] | None:
    return [(fresh[name], used[name]) for name in fresh] if fresh.keys() == used.keys() else None


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _alike(one: Tensor, other: Tensor) -> bool:
    return (one.shape, one.dtype, one.device, one.requires_grad) == (
        other.shape, other.dtype, other.device, other.requires_grad,
    )  # fmt: skip


def _renew(fresh: nn.Module, used: nn.Module, known_only: bool) -> bool:
    used.training = fresh.training
    new, old = _attributes(fresh), _attributes(used)
    known = True
    for name in new.keys() | old.keys():
        values = [attributes[name] for attributes in (new, old) if name in attributes]
        if not all(_consists_of(SCALARS, value) for value in values):
            known = known and all(_consists_of((*SCALARS, *FUNCTIONS), value) for value in values)
        elif name not in new:
            delattr(used, name)
        elif name not in old or new[name] != old[name]:
            setattr(used, name, new[name])
    return known or not known_only


def _attributes(module: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if name not in OWN}


def _consists_of(kinds: tuple[type, ...], value: Any) -> bool:
    if isinstance(value, dict):
        return all(_consists_of(kinds, item) for pair in cast("dict[Any, Any]", value).items() for item in pair)
    if isinstance(value, list | tuple | set | frozenset):
        return all(_consists_of(kinds, item) for item in cast("Iterable[Any]", value))
    return isinstance(value, kinds)
