"""The drawn scenes as a data set: numbers in, pictures out, nothing on disk."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from segue.data import scenes as drawing
from segue.data.declaration import Declaration, Split
from segue.data.layouts import Layout, Root
from segue.data.source import DataSet
from segue.labels import Labels

SIZE = (120, 160)
SPLITS = {"train": (0, 512), "val": (1_000_000, 64), "test": (2_000_000, 128)}
"""split -> (first seed, number of pictures): no seed is in two splits."""


class DrawnScenes(DataSet):
    """Scenes that segue draws itself, each from its seed; the same on every machine."""

    def __init__(self, split: str) -> None:
        self.labels = drawing.LABELS
        self.split = split
        self.first, self.count = SPLITS[split]

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"{self.split}-{index:04d}"

    def image(self, index: int) -> np.ndarray:
        return _draw(self.first + index)[0]

    def target(self, index: int) -> np.ndarray:
        return _draw(self.first + index)[1]


@lru_cache(maxsize=1024)  # 80 KB each: a picture is asked for its image and its classes, and again in each epoch
def _draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    return drawing.draw(seed, SIZE)


@dataclass(frozen=True)
class DrawnSplit(Layout):
    """A split that is nowhere but in its seeds."""

    split: str

    def missing(self, root: Root) -> list[str]:
        return []

    def open(self, root: Root, labels: Labels, anomalies: Labels | None) -> DataSet:
        return DrawnScenes(self.split)


SCENES = Declaration(
    name="scenes",
    title="Pictures that segue draws itself, 160x120",
    licence="that of segue",
    labels=drawing.LABELS,
    splits={name: Split(count, (DrawnSplit(name),)) for name, (_, count) in SPLITS.items()},
    rootless=True,
)
