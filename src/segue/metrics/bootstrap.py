"""How sure a mean IoU is: pictures drawn again with replacement, and the IoU of their counts.

What varies is which pictures are in the split; that a network trained again would differ is another matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from segue.metrics.confusion import iou_of

ROUNDS, LEVEL = 2000, 0.95
AT_A_TIME = 1 << 22  # numbers of a drawing's weights that are in memory together


@dataclass(frozen=True)
class Interval:
    """A measure, and the range that holds the stated share of its resampled values."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A second network's mean IoU less a first one's on the same pictures, its range, and how easily it is chance.

    p: two-sided; the share of resamples, doubled, in which the difference has the other sign or none.
    """

    value: float
    low: float
    high: float
    p: float


def miou_interval(counts: Tensor, *, rounds: int = ROUNDS, level: float = LEVEL, seed: int = 0) -> Interval:
    """(N, 3, K) counts of N pictures -> their mean IoU and its percentile interval.

    counts: hits, true and predicted pixels of each class, as `marginals` gives them for each picture's table. The
    interval is NaN for a single picture, which tells nothing of others.
    """
    resampled = torch.cat([_miou(weights, counts) for weights in _drawings(len(counts), rounds, seed)])
    low, high = _range(resampled, level) if len(counts) > 1 else (math.nan, math.nan)
    return Interval(_whole(counts), low, high)


def miou_difference(
    first: Tensor, second: Tensor, *, rounds: int = ROUNDS, level: float = LEVEL, seed: int = 0
) -> Difference:
    """(N, 3, K) counts of the same N pictures by two networks -> the difference of their mean IoUs, second less first.

    Each drawing takes the same pictures for both: that pictures differ in difficulty does not blur the difference.
    Raises ValueError when the pictures are not as many.
    """
    if first.shape != second.shape:
        raise ValueError(f"counts of {tuple(first.shape)} and {tuple(second.shape)}: they must be of the same pictures")
    differences = torch.cat(
        [_miou(weights, second) - _miou(weights, first) for weights in _drawings(len(first), rounds, seed)]
    )
    value = _whole(second) - _whole(first)
    if len(first) < 2:
        return Difference(value, math.nan, math.nan, math.nan)
    below, above = int((differences <= 0).sum()), int((differences >= 0).sum())
    # With one added to both, no finite number of drawings claims that chance is impossible.
    p = min(1.0, 2 * (min(below, above) + 1) / (len(differences) + 1))
    return Difference(value, *_range(differences, level), p)


def _whole(counts: Tensor) -> float:
    return float(iou_of(*counts.sum(dim=0)).nanmean())


def _drawings(pictures: int, rounds: int, seed: int) -> Iterator[Tensor]:
    """How often each picture is in each drawing: (rounds, N) float64, some rounds at a time."""
    generator = torch.Generator().manual_seed(seed)
    part = max(1, AT_A_TIME // pictures)
    for start in range(0, rounds, part):
        drawn = torch.randint(pictures, (min(part, rounds - start), pictures), generator=generator)
        weights = torch.zeros(drawn.shape, dtype=torch.float64)
        yield weights.scatter_add_(1, drawn, torch.ones(drawn.shape, dtype=torch.float64))


def _miou(weights: Tensor, counts: Tensor) -> Tensor:
    """(R, N) and (N, 3, K) -> (R,) mean IoUs; sums of float64 hold whole pixels exactly."""
    sums = weights @ counts.cpu().double().flatten(1)
    hits, true, guessed = sums.view(len(weights), 3, -1).unbind(dim=1)
    return iou_of(hits, true, guessed).nanmean(dim=1)


def _range(values: Tensor, level: float) -> tuple[float, float]:
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = values.nanquantile(ends).tolist()
    return low, high
