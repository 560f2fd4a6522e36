"""AugMix's loss: an image is classified, and its views have to agree with it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.api import Backbone, Batch, Criterion, Loss


def consistency_loss(backbone: Backbone, batch: Batch, criterion: Criterion, weight: float) -> Loss:
    """L(logits of the first view, y) + weight * the divergence of all views' predictions, from one pass over them all.

    Parts: classification, jsd.
    """
    logits = backbone(torch.cat(batch.views)).chunk(len(batch.views))
    classification = criterion(logits[0], batch.labels).mean()
    divergence = jensen_shannon(logits)
    total = classification + weight * divergence
    return Loss(total, {"classification": classification.detach(), "jsd": divergence.detach()})


def jensen_shannon(logits: Sequence[Tensor]) -> Tensor:
    """Jensen-Shannon divergence of several predictions (B, K) each, mean over the batch, () float32, in nats.

    The mixture is clamped to at least 1e-7 (Hendrycks et al. 2020, equation 2 and official code).
    """
    log_p = torch.stack([F.log_softmax(prediction.float(), dim=1) for prediction in logits])
    log_mixture = log_p.exp().mean(0).clamp(1e-7, 1).log()
    return (log_p.exp() * (log_p - log_mixture)).sum(-1).mean()
