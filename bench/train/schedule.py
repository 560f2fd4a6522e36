"""The learning rate of every step, a pure function of progress, so that resuming needs no state."""

from __future__ import annotations

import math

from bench.spec import ProtocolSpec


def learning_rate(protocol: ProtocolSpec, step: int, steps_per_epoch: int) -> float:
    """Learning rate of optimiser step `step` (0-based over the whole run).

    Warm-up rises linearly from 0 (excluded) to the full rate over warmup_epochs; cosine then falls to
    min_learning_rate (Loshchilov & Hutter 2017, without restarts), reached after the last step; "step" multiplies by
    decay_factor after each milestone epoch.
    """
    full = protocol.learning_rate
    warmup = protocol.warmup_epochs * steps_per_epoch
    if step < warmup:
        return full * (step + 1) / warmup
    if protocol.schedule == "step":
        epoch = step // steps_per_epoch
        return full * protocol.decay_factor ** sum(epoch >= milestone for milestone in protocol.milestones)
    if protocol.schedule == "cosine":
        share = (step - warmup) / max(1, protocol.epochs * steps_per_epoch - warmup)
        low = protocol.min_learning_rate
        return low + (full - low) * (1 + math.cos(math.pi * share)) / 2
    return full
