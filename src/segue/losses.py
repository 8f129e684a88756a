"""Losses of a segmentation map: pure functions (logits (B, K, H, W), target (B, H, W) int64) -> scalar.

`binary_focal` alone takes maps of one logit per pixel.

Each leaves out the pixels that are `IGNORE`, counts in float32 whatever the logits' type, and is zero, with a
gradient of zero, where every pixel is ignored.
"""

from __future__ import annotations

import torch
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
    the batch. With fewer than `min_kept` counted pixels, all are kept; so they are with a `min_kept` of 0, which in
    TorchSeg switches the selection off.
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


def focal(logits: Tensor, target: Tensor, *, gamma: float = 2.0, weight: Tensor | None = None) -> Tensor:
    """Cross entropy in which a pixel counts by (1 - p) ** gamma, p being the probability of its true class.

    Lin et al., ICCV 2017, arXiv:1708.02002, Eq. 5, with the softmax in place of the sigmoid; the mean is taken as in
    `cross_entropy`, which it equals at gamma = 0. weight: (K,), the paper's alpha, a factor per true class.
    """
    kept = target != IGNORE
    classes = target.where(kept, 0)
    logarithm = logits.float().log_softmax(dim=1).gather(1, classes[:, None])[:, 0]
    factor = kept.to(logarithm) if weight is None else weight.to(logarithm)[classes].where(kept, 0)
    # 1 - p, without its cancellation near p = 1, and above zero, where a power below 1 has no derivative.
    miss = (-torch.expm1(logarithm)).clamp(min=torch.finfo(logarithm.dtype).tiny)
    total = (factor * miss**gamma * -logarithm).sum()
    count = factor.sum()
    return total / count.where(count > 0, 1)


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """1 - the mean of the classes' soft Dice coefficients, 2 sum(p g) / (sum(p) + sum(g)) over the batch.

    p is a pixel's probability of the class and g whether that is its true class (Milletari et al., 3DV 2016,
    arXiv:1606.04797, with plain sums where theirs are of squares). Classes that the batch's targets lack are left out
    of the mean, so nothing has to be added against division by zero.
    """
    return tversky(logits, target, alpha=0.5, beta=0.5)


def tversky(logits: Tensor, target: Tensor, *, alpha: float = 0.3, beta: float = 0.7) -> Tensor:
    """1 - the mean of the classes' soft Tversky indices, hits / (hits + alpha false alarms + beta misses).

    hits = sum(p g), false alarms = sum(p (1 - g)), misses = sum((1 - p) g) over the batch, with `dice`'s p and g; it
    has both factors at 1/2. With beta above alpha misses cost more; 0.3 and 0.7 did best for Salehi et al. (MLMI 2017,
    arXiv:1706.05721). Classes that the batch's targets lack are left out of the mean.
    """
    kept = (target != IGNORE)[:, None]
    truth = target[:, None] == torch.arange(logits.shape[1], device=target.device)[:, None, None]  # (B, K, H, W)
    probability = logits.float().softmax(dim=1).where(kept, 0)
    pixels = (0, 2, 3)
    hits = probability.where(truth, 0).sum(dim=pixels)
    false_alarms = probability.sum(dim=pixels) - hits
    counts = truth.sum(dim=pixels)
    present = counts > 0
    index = hits / (hits + alpha * false_alarms + beta * (counts - hits)).where(present, 1)
    return (1 - index).where(present, 0).sum() / present.sum().clamp(min=1)


def lovasz_softmax(logits: Tensor, target: Tensor) -> Tensor:
    """The convex extension of 1 - IoU, over the batch, meaned over the classes that its targets have.

    Berman et al., CVPR 2018, arXiv:1705.08790, with the classes called "present" in their code.
    """
    kept = target != IGNORE
    truth = target[kept]
    if truth.numel() == 0:
        return logits.float().sum() * 0
    probability = logits.float().softmax(dim=1).movedim(1, -1)[kept]  # (pixels, K)
    present = torch.unique(truth)
    return torch.stack([_lovasz_extension(truth == label, probability[:, label]) for label in present]).mean()


def _lovasz_extension(is_class: Tensor, probability: Tensor) -> Tensor:
    """One class: errors, from large to small, times what each adds to 1 - IoU (their Algorithm 1)."""
    errors, order = (is_class.to(probability) - probability).abs().sort(descending=True)
    is_class = is_class[order]
    # Intersection I and union U of truth and prediction when the pixels so far are wrong and the rest are right.
    intersection = is_class.sum() - is_class.cumsum(0)
    union = is_class.sum() + (~is_class).cumsum(0)
    # 1 - I/U grows by 1/U where a pixel of the class is lost, by I/(U - 1) - I/U where the union gains another. Written
    # as fractions, nothing cancels; a difference of float32 losses has few digits left among millions of pixels.
    gains = torch.where(is_class, 1 / union, intersection / (union * (union - 1)).clamp(min=1))
    return (errors * gains).sum()


def binary_focal(logits: Tensor, target: Tensor, *, alpha: float | None = 0.25, gamma: float = 2.0) -> Tensor:
    """The focal loss of yes or no at each pixel, as of border maps (Lin et al., ICCV 2017, arXiv:1708.02002, Eq. 5).

    logits: of yes, of any shape. target: of the same shape, 1 for yes, 0 for no, `IGNORE`.
    alpha: weight of the yes pixels, 1 - alpha that of the others; None weighs none. At gamma = 0 without alpha, this is
    binary cross entropy. The mean is over the pixels that are not ignored, whatever their weights.
    """
    yes, kept = target == 1, target != IGNORE
    logits = logits.float()
    signed = torch.where(yes, logits, -logits)  # p_t = sigmoid(signed)
    # (1 - p_t) ** gamma through its logarithm: exact for sure pixels, and with a derivative where 1 - p_t is zero.
    losses = torch.exp(gamma * F.logsigmoid(-signed)) * -F.logsigmoid(signed)
    if alpha is not None:
        losses = losses * torch.where(yes, alpha, 1 - alpha)
    return losses.where(kept, 0).sum() / kept.sum().clamp(min=1)
