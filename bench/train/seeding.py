"""The state of torch's own generators at the start of a step, for dropout and stochastic depth."""

from __future__ import annotations

import torch


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed torch's generators of the host and of `device`, without a wait for it.

    The numbers drawn there afterwards are those after torch.manual_seed, which also takes down the call stack on every
    call while CUDA is not in use. seed: in [0, 2**63).
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(seed)
    elif device.type != "cpu":
        torch.manual_seed(seed)
