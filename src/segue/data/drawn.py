"""The drawn scenes as a data set: numbers in, pictures out, nothing on disk."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from segue.data import scenes as drawing
from segue.data.source import DataSet
from segue.errors import DataError

SIZE = (120, 160)
SPLITS = {"train": (0, 512), "val": (1_000_000, 64), "test": (2_000_000, 128)}
"""split -> (first seed, number of pictures): no seed is in two splits."""


class DrawnScenes(DataSet):
    """Scenes that segue draws itself, each from its seed; the same on every machine."""

    def __init__(self, split: str) -> None:
        if split not in SPLITS:
            raise DataError(f"scenes has no split {split!r}; it has {', '.join(SPLITS)}")
        self.labels = drawing.LABELS
        self.split = split
        self.first, self.count = SPLITS[split]

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"{self.split}-{index:04d}"

    def image(self, index: int) -> Image.Image:
        return Image.fromarray(_draw(self.first + index)[0])

    def target(self, index: int) -> np.ndarray:
        return _draw(self.first + index)[1]


@lru_cache(maxsize=1024)  # 80 KB each: a picture is asked for its image and its classes, and again in each epoch
def _draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    return drawing.draw(seed, SIZE)


def open_scenes(root: Path, split: str) -> DrawnScenes:
    """One split of the drawn scenes; there is nothing to be found under `root`."""
    return DrawnScenes(split)
