"""A data set that counts what is read of it, in all processes."""

import multiprocessing

import numpy as np

from segue.data.source import DataSet


class Counting(DataSet):
    """Counts how often each picture and each mask is read."""

    def __init__(self, data: DataSet) -> None:
        self.data, self.labels = data, data.labels
        self.images = multiprocessing.Array("i", len(data))
        self.masks = multiprocessing.Array("i", len(data))

    def __len__(self) -> int:
        return len(self.data)

    def name(self, index: int) -> str:
        return self.data.name(index)

    def image(self, index: int) -> np.ndarray:
        with self.images.get_lock():
            self.images[index] += 1
        return self.data.image(index)

    def target(self, index: int) -> np.ndarray:
        with self.masks.get_lock():
            self.masks[index] += 1
        return self.data.target(index)

    def stamp(self, index: int):
        return self.data.stamp(index)

    @property
    def images_read(self) -> int:
        return sum(self.images)

    @property
    def masks_read(self) -> int:
        return sum(self.masks)
