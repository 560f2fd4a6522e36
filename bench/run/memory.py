"""Telling a run that needs more memory than there is from one that has a fault."""

from __future__ import annotations

import torch

_HOST_ALLOCATOR = ("can't allocate memory", "not enough memory")
"""What torch's allocators for the host say in a plain RuntimeError."""


def out_of_memory(error: BaseException) -> str | None:
    """The reason in one line where an error means that a device's or the host's memory is used up, else None."""
    text = next(iter(str(error).strip().splitlines()), "")
    if isinstance(error, torch.OutOfMemoryError):
        return text or "the device has no memory left"
    if isinstance(error, MemoryError):
        return f"the host has no memory left{f' ({text})' if text else ''}"
    if isinstance(error, RuntimeError) and any(words in text for words in _HOST_ALLOCATOR):
        return text
    return None
