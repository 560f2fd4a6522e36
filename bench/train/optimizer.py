"""The optimiser from timm's factory, over the backbone's and the method's parameters."""

from __future__ import annotations

from typing import Any

import torch
from timm.optim import (
    create_optimizer_v2,  # pyright: ignore[reportPrivateImportUsage]
    get_optimizer_class,  # pyright: ignore[reportPrivateImportUsage]
    list_optimizers,  # pyright: ignore[reportPrivateImportUsage]
    param_groups_layer_decay,  # pyright: ignore[reportPrivateImportUsage]
    param_groups_weight_decay,  # pyright: ignore[reportPrivateImportUsage]
)
from torch import nn

from bench.errors import BadInput, nearest
from bench.spec import ProtocolSpec
from methods.api import Method

FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)


def build_optimizer(protocol: ProtocolSpec, model: nn.Module, method: Method) -> torch.optim.Optimizer:
    """timm's optimiser by name. "sgd" honours `nesterov` (timm's own "sgd" is always Nesterov, "momentum" never).

    SGD, Adam and AdamW are fused on CUDA: a few kernels for all weights, and no wait for the loss scaler's verdict.
    """
    name = protocol.optimizer.lower()
    if name in ("sgd", "momentum"):
        name = "sgd" if protocol.nesterov else "momentum"
    elif name not in (known := [str(item) for item in list_optimizers()]):
        hint = nearest(name, known)
        raise BadInput(f"protocol.optimizer: timm has no optimiser '{protocol.optimizer}'; {hint}")
    groups = [*_backbone_groups(protocol, model), *({"lr_scale": 1.0, **group} for group in method.param_groups())]
    try:
        return create_optimizer_v2(
            groups,
            opt=name,
            lr=protocol.learning_rate,
            weight_decay=protocol.weight_decay,
            momentum=protocol.momentum,
            **fused_options(name, next(model.parameters()).device),
        )
    except (TypeError, ValueError, AssertionError, ImportError, RuntimeError) as error:
        raise BadInput(f"protocol.optimizer: timm cannot build '{protocol.optimizer}' ({error})") from None


def fused_options(name: str, device: torch.device) -> dict[str, Any]:
    """{"fused": True} where torch has one kernel for all tensors of this optimiser, else nothing.

    CUDA only: the CPU's fused kernels round otherwise than its plain ones, and CPU results are to stay as they are.
    """
    if device.type != "cuda" or get_optimizer_class(name, bind_defaults=False) not in FUSED:
        return {}
    return {"fused": True}


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its rate: `rate` times the group's lr_scale (layer decay, a method's own groups)."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)


def _backbone_groups(protocol: ProtocolSpec, model: nn.Module) -> list[dict[str, Any]]:
    decay, all_decay = protocol.weight_decay, protocol.decay_norm_and_bias
    named: Any = getattr(model, "no_weight_decay", None)
    listed: Any = named() if callable(named) and not all_decay else ()
    spared = {str(name) for name in listed}
    if protocol.layer_decay is not None:
        return param_groups_layer_decay(
            model,
            decay,
            no_weight_decay_list=spared,
            weight_decay_exclude_1d=not all_decay,
            layer_decay=protocol.layer_decay,
        )
    if all_decay:
        return [{"params": [parameter for parameter in model.parameters() if parameter.requires_grad]}]
    return param_groups_weight_decay(model, decay, no_weight_decay_list=spared)
