"""A network in eval mode for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from torch import nn

from methods.api import Backbone


@contextmanager
def evaluating(backbone: Backbone) -> Iterator[None]:
    """Inside it dropout and stochastic depth are off and BatchNorm uses its running statistics; every module gets its
    own mode back."""
    training = [module for module in cast(nn.Module, backbone).modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
