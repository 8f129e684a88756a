"""How far confidence can be trusted: reliability, calibration error, proper scores, and a temperature to mend it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from segue.labels import IGNORE

BINS = 15
"""Of the confidence, of equal width over (0, 1], as usual (Guo et al., ICML 2017, arXiv:1706.04599)."""

UNIT = 1 << 24
"""Confidences are added up as integers, in units of 1 / 2^24: the sums are the same in whatever order."""


def calibration_counts(probabilities: Tensor, target: Tensor, bins: int = BINS) -> Tensor:
    """(K, H, W) and (H, W) -> (3, K, bins) int64: pixels, hits and confidences, by predicted class and confidence.

    Confidence is the highest probability, c; bin m of M holds those with (m - 1) / M < c <= m / M. Confidences are
    summed in units of 1 / `UNIT`. Pixels whose target is `IGNORE` are left out. Add the counts of all pictures, and
    look at them with `reliability` and `calibration_error`, over all classes or those of one.
    """
    counted = target != IGNORE
    confidence, predicted = (one[counted] for one in probabilities.max(dim=0))
    edges = torch.arange(1, bins, dtype=torch.float32, device=target.device) / bins
    places = predicted * bins + torch.bucketize(confidence, edges)
    hits = predicted == target[counted]
    size = len(probabilities) * bins
    # Whole numbers of at most 2^24 in float64 add up exactly for half a thousand million pixels of one picture.
    units = _in_doubles((confidence.clamp(max=1) * UNIT).round())
    sums = torch.bincount(places.to(units.device), units, minlength=size).long()
    counts = (torch.bincount(places, minlength=size), torch.bincount(places[hits], minlength=size), sums)
    return torch.stack([one.cpu() for one in counts]).view(3, len(probabilities), bins)


def _in_doubles(values: Tensor) -> Tensor:
    """As float64; on the CPU where the device has none."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def reliability(counts: Tensor) -> Tensor:
    """(3, ..., M) counts -> (2, ..., M) float64: accuracy and mean confidence of each bin, NaN where it is empty."""
    pixels, hits, confidence = counts.double()
    return torch.stack([hits / pixels, confidence / UNIT / pixels])


def calibration_error(counts: Tensor) -> Tensor:
    """(3, ..., M) counts -> (...) float64: the expected calibration error, NaN where nothing is counted.

    The mean over pixels of the gap between accuracy and mean confidence in their bin.
    """
    pixels, hits, confidence = counts.double()
    return (hits - confidence / UNIT).abs().sum(dim=-1) / pixels.sum(dim=-1)


def largest_gap(counts: Tensor) -> Tensor:
    """(3, ..., M) counts -> (...) float64: the maximum calibration error, of the bins that hold pixels."""
    accuracy, confidence = reliability(counts)
    gaps = (accuracy - confidence).abs()
    return gaps.nan_to_num(-1).amax(dim=-1).masked_fill(gaps.isnan().all(dim=-1), math.nan)


def proper_scores(probabilities: Tensor, target: Tensor) -> Tensor:
    """(K, H, W) and (H, W) -> (3,) int64: pixels, and sums of negative log-likelihood and Brier score over them.

    The sums are in units of 1 / 2^24. Both scores are least for the true probabilities, which a calibration error is
    not. A true class whose probability is 0 is taken to have 1e-12.
    """
    counted = target != IGNORE
    true = target.long().masked_fill(~counted, 0)
    of_true = _in_doubles(probabilities.gather(0, true[None])[0][counted])
    squares = _in_doubles(probabilities.square().sum(dim=0)[counted])
    losses = (-of_true.clamp(min=1e-12).log().sum(), (squares - 2 * of_true + 1).sum())
    return torch.tensor([len(of_true), *(round(float(loss) * UNIT) for loss in losses)])


def fit_temperature(logits: Tensor, target: Tensor) -> float:
    """(N, K) and (N,) -> the temperature T for which softmax(logits / T) has the least negative log-likelihood.

    The loss is convex in 1 / T, and its minimum is where its slope is 0: found by halving, between 1/100 and 100.
    Raises ValueError when there are no pixels.
    """
    if not len(target):
        raise ValueError("no pixel is counted: there is nothing to fit a temperature to")
    scores = _in_doubles(logits)
    true = scores.gather(1, target.to(scores.device).long()[:, None])[:, 0].mean()

    def slope(inverse: float) -> float:
        return float(((scores * inverse).softmax(dim=1) * scores).sum(dim=1).mean() - true)

    return 1 / _where_zero(slope, 0.01, 100.0)


def _where_zero(rising: Callable[[float], float], low: float, high: float) -> float:
    """The place, on a logarithmic scale, where a rising function crosses 0; an end where it does not."""
    for _ in range(40):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return math.sqrt(low * high)
