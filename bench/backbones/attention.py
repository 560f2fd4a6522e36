"""The class token's attention in the last block of a vision transformer, read out of timm's fused attention modules."""

from __future__ import annotations

from typing import Any

import torch
from timm.models.vision_transformer import Attention  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn

ATTRIBUTE = "attention_slot"


class AttentionSlot:
    """Holds the projections of queries, keys and values of one forward pass; None while nobody asks for them."""

    def __init__(self) -> None:
        self.kept: list[Tensor] | None = None


class ClassAttention:
    """Reads the last block's attention of the class token out of a model.

    timm computes attention in one fused call that does not give its weights. A permanent hook on the module that
    projects tokens to queries, keys and values keeps its output for the passes that ask for it; the weights are
    computed again from that, for one query only. As the slot is an attribute of the hooked module, deep copies and
    compiled calls see it. Raises ValueError for a model that `attention_refusal` refuses.
    """

    def __init__(self, model: Any) -> None:
        if reason := attention_refusal(model):
            raise ValueError(reason)
        self.module: Attention = model.blocks[-1].attn
        self.prefix = int(model.num_prefix_tokens)
        self.slot = AttentionSlot()
        setattr(self.module.qkv, ATTRIBUTE, self.slot)
        self.module.qkv.register_forward_hook(_keep)

    def weights(self, projected: Tensor) -> Tensor:
        """softmax(q k^T / sqrt(d)) of the class token over all tokens, at the grid's positions only.

        projected: what the slot kept, (B, tokens, 3 * heads * d). Returns (B, heads, positions), float32, detached, in
        [0, 1], before dropout; a head sums to at most 1, since prefix tokens get a share too.
        """
        module = self.module
        size, tokens, width = projected.shape
        head = width // (3 * module.num_heads)
        with torch.no_grad(), torch.autocast(projected.device.type, enabled=False):
            parts = projected.float().reshape(size, tokens, 3, module.num_heads, head).permute(2, 0, 3, 1, 4)
            query, keys = module.q_norm(parts[0][:, :, :1]).float(), module.k_norm(parts[1]).float()
            return ((query * module.scale) @ keys.transpose(-2, -1)).softmax(-1)[:, :, 0, self.prefix :]


def attention_refusal(model: Any) -> str | None:
    """Why a class token's attention cannot be read from a model, in one sentence; None where it can."""
    blocks = getattr(model, "blocks", None)
    if not isinstance(blocks, nn.Sequential | nn.ModuleList) or not len(blocks):
        return "the backbone is no vision transformer with a list of blocks"
    if getattr(model, "cls_token", None) is None or not getattr(model, "num_prefix_tokens", 0):
        return "the backbone has no class token"
    if getattr(model, "global_pool", "token") != "token":
        return f"the backbone classifies by its {model.global_pool}-pooled positions, not by its class token"
    module = getattr(blocks[-1], "attn", None)
    if type(module) is not Attention:
        name = type(module).__name__ if module is not None else "none of its own"
        return f"the attention of the backbone's last block is {name}, whose weights cannot be read"
    return None


def _keep(module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> None:
    slot: AttentionSlot = getattr(module, ATTRIBUTE)
    if slot.kept is not None:
        slot.kept.append(output)
