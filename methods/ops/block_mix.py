"""Images put together from blocks of other images."""

from __future__ import annotations

import torch
from torch import Tensor


def mix_blocks(images: Tensor, shown: Tensor) -> Tensor:
    """Images (N, C, H, W): each block is the mean of the same block of two images.

    images: (B, C, H, W). shown: (N, rows, columns, 2) int64, the two images of each block, the same twice for one that
    is whole. H and W are multiples of rows and columns.
    """
    size, channels, height, width = images.shape
    rows, columns = shown.shape[1:3]
    cut = images.reshape(size, channels, rows, height // rows, columns, width // columns).permute(2, 4, 0, 1, 3, 5)
    row = torch.arange(rows, device=images.device)[:, None]
    column = torch.arange(columns, device=images.device)
    first, second = (cut[row, column, shown[..., side]] for side in (0, 1))
    mixed = ((first + second) / 2).permute(0, 3, 1, 4, 2, 5)
    return mixed.reshape(len(shown), channels, height, width)
