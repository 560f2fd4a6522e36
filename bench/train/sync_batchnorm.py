"""BatchNorm over the images of all ranks."""

from __future__ import annotations

import torch
from timm.layers.norm_act import convert_sync_batchnorm

from bench.backbones.adapter import TimmBackbone
from bench.errors import BadInput
from bench.train.ranks import Ranks


def synchronise_batchnorm(backbone: TimmBackbone, ranks: Ranks, device: torch.device) -> None:
    """Make the BatchNorms of a backbone torch's SyncBatchNorm, in place; its weights and their names stay.

    BadInput without a process and a GPU for each rank: torch has it on GPUs only, between processes.
    """
    if ranks.processes < ranks.world_size:
        raise BadInput(
            f"protocol.sync_batchnorm: needs a process for each of {ranks.world_size} ranks, not {ranks.processes}"
        )
    if device.type != "cuda":
        raise BadInput(f"protocol.sync_batchnorm: needs GPUs, not the {device.type}")
    convert_sync_batchnorm(backbone.model)
