"""The library-wide settings that a protocol asks for, put back as they were afterwards."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from bench.spec import ProtocolSpec

MOST_GRAPHS = 64
"""Compiled versions of a training step in one process: one for each branch of each method that is timed in turns."""


@contextmanager
def library_settings(protocol: ProtocolSpec) -> Generator[None]:
    """Deterministic algorithms where the protocol wants them, else cuDNN's search for the fastest ones; room for all
    graphs where it compiles."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(protocol.deterministic)
    torch.backends.cudnn.benchmark = not protocol.deterministic
    _settle_product_precision()
    try:
        with _room_for_graphs(protocol):
            yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.backends.cudnn.benchmark = benchmark


def _settle_product_precision() -> None:
    """Give the flag for TF32 in matrix products the value that it has. An evaluation between two runs sets it and puts
    it back, torch tells a given value from the same one by default, and a kept step would be compiled again for that.
    """
    matmul = torch.backends.cuda.matmul
    given = bool(matmul.allow_tf32)
    matmul.allow_tf32 = given


def _room_for_graphs(protocol: ProtocolSpec) -> AbstractContextManager[None]:
    if protocol.compile == "none":
        return nullcontext()
    import torch._dynamo  # takes a second, and eager training does without

    return torch._dynamo.config.patch(recompile_limit=MOST_GRAPHS)
