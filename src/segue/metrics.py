"""Measures of a segmentation: counts of (true class, predicted class), and functions of them.

A pixel is counted when its target is not `IGNORE`; what is predicted there does not matter. Counts of pictures,
batches and processes are added up first, and every measure is a function of the sum: that is what papers call mIoU.
A class that occurs neither in the truth nor in the prediction has no IoU (NaN) and is left out of the mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from segue.labels import IGNORE

CHUNK = 1 << 20  # pixels counted at a time: their pairs then stay in the cache


def confusion(predicted: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """(B, H, W) integers twice -> (K, K) int64: pixels by (true class, predicted class), IGNORE left out.

    Raises ValueError when a counted pixel's target is not below K, or a prediction is not in 0..K-1.
    """
    if predicted.shape != target.shape:
        raise ValueError(f"predicted is {tuple(predicted.shape)}, target is {tuple(target.shape)}: they must be alike")
    if not 2 <= num_classes <= IGNORE:
        raise ValueError(f"num_classes = {num_classes}: it must be between 2 and {IGNORE}")
    # One bin for each pair of a target in 0..255 and a prediction: ignored pixels fall into bins of their own and need
    # no mask. With K < 128, the pairs fit 16 bits: half the memory traffic of 32, a quarter of 64.
    pair_type = torch.int16 if num_classes * (IGNORE + 1) <= 1 << 15 else torch.int32
    predicted, target = predicted.reshape(-1), target.reshape(-1)
    bins = torch.zeros(num_classes * (IGNORE + 1), dtype=torch.int64, device=target.device)
    chunk = (
        CHUNK if target.device.type == "cpu" else max(target.numel(), 1)
    )  # on a GPU each check waits for it: check once
    for start in range(0, target.numel(), chunk):
        true, guess = target[start : start + chunk], predicted[start : start + chunk]
        _check_range(guess, num_classes - 1, "a prediction", f"0..{num_classes - 1}")
        _check_range(true, IGNORE, "a target", f"0..{num_classes - 1} or {IGNORE}")
        # Both are narrowed first: adding wide integers to narrow ones is ten times as slow as adding equals.
        pairs = true.to(pair_type).mul_(num_classes).add_(guess.to(pair_type))
        bins += torch.bincount(pairs, minlength=len(bins))
    table = bins.view(IGNORE + 1, num_classes)
    if bool(table[num_classes:IGNORE].any()):
        unknown = int(table[num_classes:IGNORE].sum(dim=1).nonzero()[0, 0]) + num_classes
        raise ValueError(f"a target holds {unknown}, which is neither one of {num_classes} classes nor {IGNORE}")
    return table[:num_classes].clone()


def _check_range(values: Tensor, highest: int, what: str, allowed: str) -> None:
    if values.dtype == torch.uint8 and highest >= IGNORE:
        return
    low, high = (int(bound) for bound in values.aminmax())
    if low < 0 or high > highest:
        raise ValueError(f"{what} holds {low if low < 0 else high}: it must be in {allowed}")


def iou(table: Tensor) -> Tensor:
    """(K, K) counts -> (K,) float64: hits / (hits + misses + false alarms), NaN for a class that never occurs."""
    hits, true, guessed = _marginals(table)
    return hits / (true + guessed - hits)


def accuracy(table: Tensor) -> Tensor:
    """(K, K) counts -> (K,) float64: hits / true pixels, NaN for a class that is never true."""
    hits, true, _ = _marginals(table)
    return hits / true


def dice(table: Tensor) -> Tensor:
    """(K, K) counts -> (K,) float64: 2 hits / (true + predicted), NaN for a class that never occurs."""
    hits, true, guessed = _marginals(table)
    return 2 * hits / (true + guessed)


def _marginals(table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    counts = table.double()
    return counts.diagonal(), counts.sum(dim=1), counts.sum(dim=0)


@dataclass(frozen=True)
class Summary:
    """The measures of a confusion matrix; shares between 0 and 1, NaN where nothing was counted.

    classes: how many classes the mean IoU is taken over; absent: the indices that are left out of it.
    """

    miou: float
    pixel_accuracy: float
    mean_accuracy: float
    fwiou: float
    dice: float
    classes: int
    absent: tuple[int, ...]

    def numbers(self) -> dict[str, float]:
        """The five measures by name, for logs and tables."""
        return {
            "miou": self.miou,
            "pixel_accuracy": self.pixel_accuracy,
            "mean_accuracy": self.mean_accuracy,
            "fwiou": self.fwiou,
            "dice": self.dice,
        }


def summarise(table: Tensor) -> Summary:
    """(K, K) counts -> mIoU, pixel accuracy, mean accuracy, frequency-weighted IoU and mean Dice."""
    hits, true, _ = _marginals(table)
    per_class = iou(table)
    absent = per_class.isnan().nonzero().flatten().tolist()
    return Summary(
        miou=float(per_class.nanmean()),
        pixel_accuracy=float(hits.sum() / true.sum()),
        mean_accuracy=float(accuracy(table).nanmean()),
        fwiou=float((true * per_class).nansum() / true.sum()),
        dice=float(dice(table).nanmean()),
        classes=len(per_class) - len(absent),
        absent=tuple(absent),
    )


TOLERANCE = 0.0075
"""Of a picture's diagonal: how far apart two boundaries may lie and still agree, as in SegNet's and BSDS's programs."""


def boundary_f(predicted: Tensor, target: Tensor, num_classes: int, tolerance: float | None = None) -> Tensor:
    """(B, H, W) integers twice -> (B, K) float64: the boundary F-measure of each picture and class, by distance.

    Precision is the share of predicted boundary pixels within `tolerance` pixels (Euclidean) of any true one, recall
    the share of true ones so near to any predicted one, and F = 2 PR / (P + R) (Csurka et al., BMVC 2013). This is the
    distance-transform variant, which lets many pixels agree with the same one; SegNet's program matches them one to
    one, which gives lower numbers: do not compare the two. A class with a boundary in truth or prediction alone has
    F = 0, one with a boundary in neither NaN.

    A pixel is on a class's boundary when exactly one is of the class: it, or any of its right, lower, and lower right
    neighbours (one pixel thick; the picture's edge is no boundary). Where the target is `IGNORE` on either side, no
    boundary is counted, in truth or prediction.

    tolerance: in pixels; 0.0075 of the diagonal by default. Raises ValueError when sizes differ.
    """
    if predicted.shape != target.shape or target.ndim != 3:
        raise ValueError(
            f"predicted is {tuple(predicted.shape)}, target is {tuple(target.shape)}: both must be one (B, H, W)"
        )
    if tolerance is None:
        tolerance = TOLERANCE * math.hypot(*target.shape[1:])
    scores = []
    for guess, true in zip(predicted, target, strict=True):
        counted = true != IGNORE
        truth, guessed = (_boundaries(classes, counted, num_classes) for classes in (true, guess))
        precision, recall = _share_near(guessed, truth, tolerance), _share_near(truth, guessed, tolerance)
        agreed = 2 * precision * recall / (precision + recall).clamp(min=1e-300)
        scores.append(agreed.masked_fill(~(truth | guessed).flatten(1).any(dim=1), math.nan))
    return torch.stack(scores)


def _boundaries(classes: Tensor, counted: Tensor, num_classes: int) -> Tensor:
    """(H, W) twice -> (K, H, W) bool, each class's boundary as `boundary_f` defines it."""
    inside = classes == torch.arange(num_classes, device=classes.device)[:, None, None]
    edge = torch.zeros_like(inside)
    height, width = classes.shape
    for down, right in ((0, 1), (1, 0), (1, 1)):
        here = (slice(0, height - down), slice(0, width - right))
        there = (slice(down, None), slice(right, None))
        edge[:, *here] |= (inside[:, *here] != inside[:, *there]) & counted[here] & counted[there]
    return edge


def _share_near(pixels: Tensor, others: Tensor, tolerance: float) -> Tensor:
    """(K, H, W) bool twice -> (K,) float64: the share of `pixels` within `tolerance` of any of `others`, 0 of none."""
    hits = (pixels & _dilated(others, tolerance)).flatten(1).sum(dim=1)
    return hits.double() / pixels.flatten(1).sum(dim=1).clamp(min=1)


def _dilated(maps: Tensor, radius: float) -> Tensor:
    """(K, H, W) bool -> the pixels at most `radius` from one of them: a disc, as rows of its width at each height."""
    height, width = maps.shape[1:]
    totals = F.pad(maps.cumsum(dim=2, dtype=torch.int32), (1, 0))  # of the pixels before each, and of the whole row
    columns = torch.arange(width, device=maps.device)
    near = torch.zeros_like(maps)
    for down in range(min(int(radius), height - 1) + 1):
        reach = int(math.sqrt(radius**2 - down**2))
        wide = totals[:, :, (columns + reach + 1).clamp(max=width)] > totals[:, :, (columns - reach).clamp(min=0)]
        near[:, down:] |= wide[:, : height - down]
        near[:, : height - down] |= wide[:, down:]
    return near
