"""A small ViT whose attention is far from uniform, and its unfused reference."""

from __future__ import annotations

import copy
import functools

import timm
import torch
from torch import Tensor, nn

from bench.backbones.adapter import TimmBackbone
from tests.oracle.mixing_checks import CLASSES

SIZE, PATCH, HEADS = 32, 8, 3
GRID = SIZE // PATCH


@functools.cache
def _built(distilled: bool) -> TimmBackbone:
    name = "deit_tiny_distilled_patch16_224" if distilled else "vit_tiny_patch16_224"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model(
            name, img_size=SIZE, patch_size=PATCH, embed_dim=24, depth=2, num_heads=HEADS, num_classes=CLASSES
        )
        for parameter in model.parameters():
            nn.init.normal_(parameter, 0.0 if parameter.ndim > 1 else 0.5, 0.5)
    return TimmBackbone(model, CLASSES, 3, SIZE)


def small_vit(distilled: bool = False) -> TimmBackbone:
    """A fresh copy, always the same, in train mode."""
    return copy.deepcopy(_built(distilled)).train()


def reference_pass(net: TimmBackbone, image: Tensor) -> tuple[Tensor, list[list[float]]]:
    """Logits (1, K) of one image (1, C, H, W) and its class token's attention as rows of the patch grid, mean over
    heads, from timm's unfused attention."""
    model = copy.deepcopy(net.model)
    for block in model.blocks:
        block.attn.fused_attn = False
    seen: list[Tensor] = []
    model.blocks[-1].attn.attn_drop.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
    logits = model(image)
    row = seen[0][0, :, 0, model.num_prefix_tokens :].mean(0).tolist()
    return logits, [row[GRID * i : GRID * (i + 1)] for i in range(GRID)]
