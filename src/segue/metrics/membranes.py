"""V-rand and V-info of the ISBI 2012 challenge: how well cells are kept together and apart.

Arganda-Carreras et al.: Crowdsourcing the creation of image segmentation algorithms for connectomics, Frontiers in
Neuroanatomy 9:142, 2015, and its program in fiji/Trainable_Segmentation. How wide membranes are drawn does not matter,
unlike in the Rand error of 2012, which is another measure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from segue.metrics.components import connected_components

THRESHOLDS = tuple(step / 10 for step in range(11))
"""Of the probability of a cell: a pixel is of a cell where it is above. The best one counts, as in the challenge."""


@dataclass(frozen=True)
class Agreement:
    """How two segmentations of the same pixels agree; 1 is best, NaN where the truth has no cells.

    rand, info: V-rand and V-info, the harmonic means of `merge` (lower where cells run together) and `split` (lower
    where they fall apart).
    """

    rand: float
    rand_merge: float
    rand_split: float
    info: float
    info_merge: float
    info_split: float


def membrane_agreement(cell: Tensor, truth: Tensor, threshold: float = 0.5) -> Agreement:
    """(H, W) probability of a cell and (H, W) bool, true where there is one -> agreement of the cells.

    Cells are what is connected along rows and columns; predicted borders are thinned first.
    """
    return agreement(thinned(cell > threshold), connected_components(truth, diagonal=False))


def thinned(cells: Tensor) -> Tensor:
    """(H, W) bool -> (H, W) int64: the cells' numbers, grown into the membranes until two cells meet, and 0 there.

    A watershed by distance along rows and columns (Vincent and Soille, PAMI 1991): all fronts go on by one pixel at a
    time, and a pixel that two cells reach at once is border, as is what lies behind it.
    """
    numbers = connected_components(cells, diagonal=False)
    border = -1
    while True:
        around = F.pad(numbers, (1, 1, 1, 1))
        sides = torch.stack([around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]])
        highest = sides.amax(dim=0)
        lowest = sides.masked_fill(sides <= 0, torch.iinfo(torch.int64).max).amin(dim=0)
        grown = torch.where(highest == lowest, highest, border)
        reached = (numbers == 0) & (sides != 0).any(dim=0)
        if not bool(reached.any()):
            return numbers.clamp(min=0)
        numbers = torch.where(reached, grown, numbers)


def agreement(predicted: Tensor, truth: Tensor) -> Agreement:
    """(H, W) cells' numbers twice -> agreement, over the pixels of true cells alone.

    0 is border: in the truth it is left out, and in the prediction each of its pixels is a segment of its own. Where
    both are one single segment they agree; where one of the two is, its own share of the information is taken for 1.
    """
    within = truth > 0
    pixels = int(within.sum())
    if not pixels:
        return Agreement(*[math.nan] * 6)
    true, guess = truth[within], predicted[within]
    single = int((guess == 0).sum())
    pairs = true[guess > 0] * (int(guess.max()) + 1) + guess[guess > 0]
    common, ours, theirs = (
        (one.unique(return_counts=True)[1].cpu().double() / pixels) for one in (pairs, true, guess[guess > 0])
    )
    alone = single / pixels**2
    s_common, s_ours, s_theirs = (float(one.square().sum()) for one in (common, ours, theirs))
    s_common, s_theirs = s_common + alone, s_theirs + alone
    surprise = single / pixels * math.log(pixels)
    h_common, h_ours, h_theirs = (float(-(one * one.log()).sum()) for one in (common, ours, theirs))
    h_common, h_theirs = h_common + surprise, h_theirs + surprise
    shared = max(0.0, h_ours + h_theirs - h_common)
    return Agreement(
        rand=s_common / (s_ours / 2 + s_theirs / 2),
        rand_merge=s_common / s_theirs,
        rand_split=s_common / s_ours,
        info=_share(2 * shared, h_ours + h_theirs),
        info_merge=_share(shared, h_ours),
        info_split=_share(shared, h_theirs),
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 1e-12 else 1.0
