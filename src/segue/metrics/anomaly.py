"""How well scores tell anomalies from the rest: AUROC, average precision and the false alarms at 95 % recall.

Scores are large for anomalies; anomalies are the positives. Pixels are ranked, all pixels of a data set in one ranking,
by counting them in bins of their score: a score's bin is the first 20 bits of its 32-bit float, which are in the
scores' own order from the least to the greatest number there is. Nobody has to know the range, memory is the same for
ten pixels and for ten thousand million, and counts of pictures and processes add up. The price is that scores that
agree in about 11 significant bits are taken for ties, and what that may change is computed with each measure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from segue.labels import IGNORE

BITS = 20
BINS = 1 << BITS
RECALL = 0.95


@dataclass(frozen=True)
class Bounded:
    """A measure of binned scores, and what ranking the scores themselves could have given: from `low` to `high`."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Detection:
    """How well a score tells anomalies; shares between 0 and 1, NaN where there are no anomalies or nothing else.

    auroc: how often an anomalous pixel has the higher score of two; 0.5 by chance.
    ap: average precision (AUPR), sum of (R_n - R_(n-1)) * precision_n over thresholds; by chance, the anomalies' share.
    fpr95: share of the rest that is called anomalous when 95 % of the anomalies are, or the first more; 0.95 by chance.
    best_f1, threshold: the highest F1 of pixels, and the score from which on pixels are called anomalous then.
    """

    auroc: Bounded
    ap: Bounded
    fpr95: Bounded
    best_f1: float
    threshold: float
    positives: int
    negatives: int


def score_bins(scores: Tensor) -> Tensor:
    """float32 scores -> int64 bins in 0..2^20 - 1, in the same order. Raises ValueError for a score that is NaN."""
    if bool(scores.isnan().any()):
        raise ValueError("a score is not a number (NaN): it cannot be ranked")
    bits = (scores.float() + 0.0).view(torch.int32)  # with zero added, -0.0 is 0.0
    # The bits of positive floats grow with them, and those of negative ones fall: turned over, both grow.
    ordered = torch.where(bits >= 0, bits, bits ^ 0x7FFFFFFF).long() + (1 << 31)
    return ordered >> (32 - BITS)


def lowest_of_bin(number: int) -> float:
    """The least score of a bin."""
    ordered = (number << (32 - BITS)) - (1 << 31)
    bits = torch.tensor(ordered if ordered >= 0 else ordered ^ 0x7FFFFFFF, dtype=torch.int32)
    least = float(bits.view(torch.float32))
    return -math.inf if math.isnan(least) else least  # what lies below minus infinity are the bits of NaN


def anomaly_counts(scores: Tensor, target: Tensor) -> Tensor:
    """(H, W) scores and (H, W) 0 in distribution, 1 anomaly or `IGNORE` -> (2, 2^20) int64: the rest, anomalies.

    Raises ValueError for other targets and for scores that are NaN where they are counted.
    """
    unknown = (target > 1) & (target != IGNORE)
    if bool(unknown.any()):
        raise ValueError(f"an anomaly target holds {int(target[unknown][0])}: it must be 0, 1 or {IGNORE}")
    counted = target != IGNORE
    bins = score_bins(scores[counted]) + target[counted].long() * BINS
    return torch.bincount(bins, minlength=2 * BINS).view(2, BINS)


def detection(counts: Tensor) -> Detection:
    """(2, 2^20) counts -> the measures, each with its bounds."""
    filled = counts.any(dim=0).nonzero().flatten().flip(0)  # the highest scores come first
    negatives, positives = counts[:, filled].cpu().double()
    total_negatives, total = float(negatives.sum()), float(positives.sum())
    if not total or not total_negatives:
        nothing = Bounded(math.nan, math.nan, math.nan)
        return Detection(nothing, nothing, nothing, math.nan, math.nan, int(total), int(total_negatives))
    hits, alarms = positives.cumsum(dim=0), negatives.cumsum(dim=0)
    f1 = 2 * hits / (hits + alarms + total)
    best = int(f1.argmax())
    return Detection(
        _auroc(positives, negatives, alarms),
        _average_precision(positives, negatives, hits, alarms),
        _fpr95(hits, alarms),
        float(f1[best]),
        lowest_of_bin(int(filled[best])),
        int(total),
        int(total_negatives),
    )


def _auroc(positives: Tensor, negatives: Tensor, alarms: Tensor) -> Bounded:
    """Pairs in different bins are ordered for certain; those of one bin count half, and might count all or nothing."""
    pairs = positives.sum() * negatives.sum()
    certain = float((positives * (negatives.sum() - alarms)).sum() / pairs)
    tied = float((positives * negatives).sum() / pairs)
    return Bounded(certain + tied / 2, certain, certain + tied)


def _average_precision(positives: Tensor, negatives: Tensor, hits: Tensor, alarms: Tensor) -> Bounded:
    """At best a bin's anomalies all come before its other pixels, and at worst after them."""
    weights = positives / positives.sum()
    before_hits, before_alarms = hits - positives, alarms - negatives
    value = weights * hits / (hits + alarms)
    high = weights * (hits / (hits + before_alarms).clamp(min=1))
    low = weights * (before_hits + 1) / (before_hits + 1 + alarms)
    return Bounded(float(value.sum()), float(torch.minimum(low, value).sum()), float(high.sum()))


def _fpr95(hits: Tensor, alarms: Tensor) -> Bounded:
    """At the first bin that reaches the recall; the exact threshold lies somewhere in it."""
    place = int((hits >= RECALL * hits[-1]).nonzero()[0])
    before = float(alarms[place - 1]) if place else 0.0
    value = float(alarms[place] / alarms[-1])
    return Bounded(value, before / float(alarms[-1]), value)


def detection_curves(counts: Tensor, points: int = 512) -> tuple[Tensor, Tensor]:
    """(2, 2^20) counts -> ROC (n, 2) of (false-positive rate, recall) and (n, 2) of (recall, precision), for drawing.

    The points are a choice of at most `points`, evenly along the curve.
    """
    filled = counts.any(dim=0).nonzero().flatten().flip(0)
    negatives, positives = counts[:, filled].cpu().double()
    hits, alarms = positives.cumsum(dim=0), negatives.cumsum(dim=0)
    recall, false_rate, precision = hits / hits[-1], alarms / alarms[-1], hits / (hits + alarms)
    way = recall + false_rate  # from 0 to 2, and growing with every bin
    chosen = torch.searchsorted(way, torch.linspace(0, 2, points, dtype=torch.float64)).clamp(max=len(way) - 1).unique()
    start = torch.zeros(1, 2, dtype=torch.float64)
    roc = torch.cat([start, torch.stack([false_rate, recall], dim=1)[chosen]])
    return roc, torch.stack([recall, precision], dim=1)[chosen]
