"""The library-wide settings that a protocol asks for, put back as they were afterwards."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch

from bench.spec import ProtocolSpec


@contextmanager
def library_settings(protocol: ProtocolSpec) -> Generator[None]:
    """Deterministic algorithms where the protocol wants them, else cuDNN's search for the fastest ones."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(protocol.deterministic)
    torch.backends.cudnn.benchmark = not protocol.deterministic
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.backends.cudnn.benchmark = benchmark
