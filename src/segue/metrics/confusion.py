"""Measures of a segmentation: counts of (true class, predicted class), and functions of them.

A pixel is counted when its target is not `IGNORE`; what is predicted there does not matter. Counts of pictures,
batches and processes are added up first, and every measure is a function of the sum: that is what papers call mIoU.
A class that occurs neither in the truth nor in the prediction has no IoU (NaN) and is left out of the mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
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
    return iou_of(*_marginals(table))


def accuracy(table: Tensor) -> Tensor:
    """(K, K) counts -> (K,) float64: hits / true pixels, NaN for a class that is never true."""
    hits, true, _ = _marginals(table)
    return hits / true


def dice(table: Tensor) -> Tensor:
    """(K, K) counts -> (K,) float64: 2 hits / (true + predicted), NaN for a class that never occurs."""
    hits, true, guessed = _marginals(table)
    return 2 * hits / (true + guessed)


def iou_of(hits: Tensor, true: Tensor, guessed: Tensor) -> Tensor:
    """Counts of hits, true and predicted pixels, of any shape -> IoU of each, float64, NaN for 0 / 0."""
    return hits.double() / (true + guessed - hits).double()


def marginals(table: Tensor) -> Tensor:
    """(K, K) counts -> (3, K): hits, true pixels and predicted pixels of each class, all that IoU needs."""
    return torch.stack([table.diagonal(), table.sum(dim=1), table.sum(dim=0)])


def _marginals(table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    hits, true, guessed = marginals(table).cpu().double()  # a table is small, and not every device has float64
    return hits, true, guessed


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
