"""How many images go through a network and the copies of it that a method keeps."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from bench.backbones.adapter import TimmBackbone
from methods.api import Method


@contextlib.contextmanager
def count_all_passes(backbone: TimmBackbone, method: Method) -> Iterator[Callable[[], int]]:
    """Inside it, and after, a function tells how many images have gone through: teachers and other copies inside the
    method count like the trained network. Eager calls only."""
    networks = {id(net): net for net in [backbone, *method.modules()] if isinstance(net, TimmBackbone)}
    with contextlib.ExitStack() as stack:
        counts = [stack.enter_context(net.count_passes()) for net in networks.values()]
        yield lambda: sum(count.images for count in counts)
