"""Losses of a segmentation map: pure functions (logits (B, K, H, W), target (B, H, W) int64) -> scalar.

Each leaves out the pixels that are `IGNORE`, counts in float32 whatever the logits' type, and is zero, with a
gradient of zero, where every pixel is ignored.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from segue.labels import IGNORE


def cross_entropy(logits: Tensor, target: Tensor, *, weight: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """The mean of -log softmax at the true class.

    weight: (K,), a factor per true class; the mean is then the weighted one, as in PyTorch.
    smoothing: share of the target's probability that is spread evenly over all classes (Szegedy et al., CVPR 2016).
    """
    logits = logits.float()
    if weight is not None:
        weight = weight.to(logits)
    total = F.cross_entropy(
        logits, target, weight=weight, ignore_index=IGNORE, reduction="sum", label_smoothing=smoothing
    )
    kept = target != IGNORE
    if weight is None:
        return total / kept.sum().clamp(min=1)
    count = weight[target.where(kept, 0)].where(kept, 0).sum()
    return total / count.where(count > 0, 1)


def ohem(
    logits: Tensor,
    target: Tensor,
    *,
    threshold: float = 0.7,
    min_kept: int = 100_000,
    weight: Tensor | None = None,
) -> Tensor:
    """Cross entropy of the hard pixels (online hard example mining, as DFN and TorchSeg use it).

    A pixel is kept when the probability of its true class is at most `threshold`, or among the `min_kept` lowest of
    the batch. With fewer than `min_kept` counted pixels, all are kept.
    """
    logits = logits.float()
    kept = target != IGNORE
    probability = logits.detach().softmax(dim=1).gather(1, target.where(kept, 0)[:, None])[:, 0]
    probability = probability[kept]
    if 0 < min_kept <= probability.numel():
        # The min_kept-th lowest probability; equal ones are kept as well.
        threshold_tensor = probability.kthvalue(min_kept).values.clamp(min=threshold)
        hard = target.clone()
        hard[kept] = hard[kept].where(probability <= threshold_tensor, IGNORE)
        target = hard
    return cross_entropy(logits, target, weight=weight)
