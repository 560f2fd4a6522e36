"""Which runs can share a compiled step. Needs no torch, since a sweep asks it too."""

from __future__ import annotations

from bench.spec import Spec, canonical_json

OUTSIDE_THE_STEP = frozenset(
    {
        "epochs", "optimizer", "learning_rate", "momentum", "nesterov", "weight_decay", "decay_norm_and_bias",
        "layer_decay", "schedule", "warmup_epochs", "milestones", "decay_factor", "min_learning_rate", "clip_grad_norm",
        "ema_decay", "rank_weights", "evaluate_every", "trained_elsewhere", "compute_budget", "exceptions",
    }
)  # fmt: skip
"""Protocol keys that the compiled forward and backward pass knows nothing of."""


def step_key(spec: Spec, num_classes: int | None, device: object) -> str:
    """Equal for runs that can share a compiled step: backbone, input shape, method, batch, loss, precision, device.

    num_classes: None where that is not known yet; runs on data of other classes are then not told apart.
    """
    return canonical_json(
        {
            "backbone": spec.backbone.model_dump(mode="json"),
            "input": [spec.data.channels, spec.data.resolution, spec.data.resolution, num_classes],
            "method": spec.method.model_dump(mode="json"),
            "protocol": spec.effective_protocol.model_dump(mode="json", exclude=set(OUTSIDE_THE_STEP)),
            "device": str(device),
        }
    )
