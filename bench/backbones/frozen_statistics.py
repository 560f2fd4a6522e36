"""Extra passes that leave BatchNorm's running statistics alone."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class FrozenStatistics:
    """Context in which the running mean, variance and count of the BatchNorms among `modules` stay as they are.

    What is computed does not change: in train mode the batch's own statistics still normalise, in eval mode the
    running ones. A class, not a generator, so that it can be traced by torch.compile.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self.norms = [norm for norm in modules if isinstance(norm, _BatchNorm) and norm.track_running_stats]

    def __enter__(self) -> None:
        for norm in self.norms:
            norm.track_running_stats = False

    def __exit__(self, *_error: object) -> None:
        for norm in self.norms:
            norm.track_running_stats = True
