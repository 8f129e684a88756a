"""What an evaluation found: counts of the whole split, and of each of its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from torch import Tensor

from segue.labels import Labels
from segue.metrics import Summary, accuracy, dice, iou, iou_of, marginals, summarise


@dataclass(frozen=True)
class PictureScore:
    """How one picture came out; miou is over the classes that occur in its truth or prediction.

    cells, counts: (n,) integers; where its confusion matrix, read row by row, is not 0, and what is there. A picture
    has few kinds of errors, so this is small.
    """

    name: str
    miou: float
    pixel_accuracy: float
    cells: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int32), repr=False, compare=False)
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64), repr=False, compare=False)

    @classmethod
    def of(cls, name: str, table: Tensor) -> Self:
        """The score of a picture with this (K, K) confusion matrix."""
        summary = summarise(table)
        flat = table.flatten().cpu().numpy()
        cells = np.flatnonzero(flat)
        return cls(name, summary.miou, summary.pixel_accuracy, cells.astype(np.int32), flat[cells])

    def table(self, num_classes: int) -> Tensor:
        """Its (K, K) confusion matrix."""
        table = torch.zeros(num_classes * num_classes, dtype=torch.int64)
        table[torch.from_numpy(self.cells).long()] = torch.from_numpy(self.counts)
        return table.view(num_classes, num_classes)


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

    def merge(self, other: Evaluation) -> None:
        """Add what another process found in its share of the split."""
        self.table += other.table.to(self.table.device)
        self.pictures += other.pictures

    def picture_counts(self) -> Tensor:
        """(N, 3, K) int64: hits, true and predicted pixels of each class in each picture, for `miou_interval`."""
        size = len(self.table)
        if not self.pictures:
            return torch.zeros(0, 3, size, dtype=torch.int64)
        return torch.stack([marginals(one.table(size)) for one in self.pictures])

    def class_rows(self, labels: Labels) -> list[dict[str, object]]:
        """A row per class: name, colour, IoU, accuracy, Dice (NaN where undefined) and pixels."""
        columns = (iou(self.table), accuracy(self.table), dice(self.table), self.table.sum(dim=1))
        return [
            {"class": name, "colour": colour, "iou": float(a), "accuracy": float(b), "dice": float(c), "pixels": int(d)}
            for name, colour, a, b, c, d in zip(labels.classes, labels.palette, *columns, strict=True)
        ]

    def picture_rows(self, labels: Labels) -> list[dict[str, object]]:
        """A row per picture, the worst first: name, mIoU, pixel accuracy, pixels, and IoU of each class."""
        counts = {one.name: marginals(one.table(labels.num_classes)) for one in self.pictures}
        undefined = [one for one in self.pictures if np.isnan(one.miou)]
        return [
            {
                "name": one.name,
                "miou": one.miou,
                "pixel_accuracy": one.pixel_accuracy,
                "pixels": int(counts[one.name][1].sum()),
                **{
                    f"iou {name}": float(value)
                    for name, value in zip(labels.classes, iou_of(*counts[one.name]), strict=True)
                },
            }
            for one in (*worst_first(self.pictures), *undefined)
        ]


def worst_first(pictures: Sequence[PictureScore]) -> list[PictureScore]:
    """Pictures by mIoU, the lowest first; those without counted pixels are left out."""
    return sorted((one for one in pictures if not np.isnan(one.miou)), key=lambda one: (one.miou, one.name))
