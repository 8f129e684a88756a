"""Predicting whole pictures and counting: the confusion matrix of a data set, and a score for each picture.

Pictures are evaluated at their own size. Those of one size go through the network together; nothing is padded to make
sizes alike, since padding would change the scores near it (and, through image pooling, everywhere), and a picture's
score would depend on its neighbours in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from segue.labels import Labels
from segue.metrics import Summary, accuracy, confusion, dice, iou, summarise
from segue.prediction import as_batch

WholePicture = tuple[np.ndarray, np.ndarray, str]
"""A picture (H, W, C), its classes (H, W) uint8, and its name."""


class LabelsOf(Protocol):
    """What evaluation asks of a predictor."""

    def labels(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, H, W) classes."""


@dataclass(frozen=True)
class PictureScore:
    """How one picture came out; miou is over the classes that occur in its truth or prediction."""

    name: str
    miou: float
    pixel_accuracy: float


@dataclass
class Evaluation:
    """Counts of a whole split, and the scores of its pictures.

    table: (K, K) int64, pixels by (true class, predicted class).
    more: further measures of the whole split by name, such as `boundary_f`.
    """

    table: Tensor
    pictures: list[PictureScore] = field(default_factory=list)
    more: dict[str, float] = field(default_factory=dict)

    def summary(self) -> Summary:
        """The measures of the whole split."""
        return summarise(self.table)

    def numbers(self) -> dict[str, float]:
        """All measures of the whole split by name."""
        return {**self.summary().numbers(), **self.more}

    def class_rows(self, labels: Labels) -> list[dict[str, object]]:
        """A row per class: name, IoU, accuracy, Dice (NaN where undefined) and pixels."""
        columns = (iou(self.table), accuracy(self.table), dice(self.table), self.table.sum(dim=1))
        return [
            {"class": name, "iou": float(a), "accuracy": float(b), "dice": float(c), "pixels": int(d)}
            for name, a, b, c, d in zip(labels.classes, *columns, strict=True)
        ]


def evaluate(
    predictor: LabelsOf,
    pictures: Iterable[WholePicture],
    num_classes: int,
    *,
    batch: int = 8,
    device: torch.device | None = None,
    seen: Callable[[str, np.ndarray, np.ndarray, np.ndarray], None] | None = None,
) -> Evaluation:
    """Predict each picture at its own size and count.

    seen: called with (name, picture, classes, predicted) of each one, for pictures of them.
    """
    device = device or torch.device("cpu")
    evaluation = Evaluation(torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device))
    for group in same_size(pictures, batch):
        predicted = predictor.labels(as_batch([pixels for pixels, _, _ in group]))
        for (pixels, classes, name), guess in zip(group, predicted, strict=True):
            target = torch.from_numpy(np.ascontiguousarray(classes)).to(device)
            counts = confusion(guess.to(device), target, num_classes)
            evaluation.table += counts
            one = summarise(counts)
            evaluation.pictures.append(PictureScore(name, one.miou, one.pixel_accuracy))
            if seen is not None:
                seen(name, pixels, classes, guess.to(torch.uint8).cpu().numpy())
    return evaluation


def same_size(pictures: Iterable[WholePicture], batch: int) -> Iterator[list[WholePicture]]:
    """Groups of at most `batch` pictures of one size, each picture in exactly one; memory holds a group per size."""
    waiting: dict[tuple[int, ...], list[WholePicture]] = {}
    for picture in pictures:
        group = waiting.setdefault(picture[0].shape, [])
        group.append(picture)
        if len(group) == batch:
            yield waiting.pop(picture[0].shape)
        elif len(waiting) > MOST_SIZES:
            yield waiting.pop(max(waiting, key=lambda size: len(waiting[size])))
    yield from waiting.values()


MOST_SIZES = 8  # pictures of so many sizes wait for others of their size, before the fullest group goes on its way


def worst_first(pictures: Sequence[PictureScore]) -> list[PictureScore]:
    """Pictures by mIoU, the lowest first; those without counted pixels are left out."""
    return sorted((one for one in pictures if not np.isnan(one.miou)), key=lambda one: one.miou)
