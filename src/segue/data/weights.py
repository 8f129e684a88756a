"""Class weights from the pixels of the training masks."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from segue.data.source import DataSet
from segue.labels import IGNORE


@dataclass(frozen=True)
class ClassCounts:
    """pixels: (K,) of each class; present: (K,) pixels, of any counted class, of the pictures in which it occurs."""

    pixels: np.ndarray
    present: np.ndarray


def count_classes(data: DataSet) -> ClassCounts:
    """Read every mask of a split once, with several threads."""
    count = data.labels.num_classes

    def one(index: int) -> np.ndarray:
        return np.bincount(data.target(index).reshape(-1), minlength=IGNORE + 1)[:count]

    pixels, present = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for counts in pool.map(one, range(len(data))):
            pixels += counts
            present += np.where(counts > 0, counts.sum(), 0)
    return ClassCounts(pixels, present)


def median_frequency(counts: ClassCounts) -> tuple[float, ...]:
    """Median of the frequencies / frequency, which is pixels / pixels of the pictures that hold the class.

    Eigen and Fergus (ICCV 2015), as SegNet uses it. A class that never occurs gets 0.
    """
    frequency = counts.pixels / np.maximum(counts.present, 1)
    occurs = frequency > 0
    median = float(np.median(frequency[occurs]))
    return tuple(median / value if value > 0 else 0.0 for value in frequency.tolist())


def inverse_log_frequency(counts: ClassCounts) -> tuple[float, ...]:
    """1 / log(1.02 + share of all pixels), as ENet has it (Paszke et al., arXiv:1606.02147), scaled to a mean of 1."""
    share = counts.pixels / max(counts.pixels.sum(), 1)
    weights = 1 / np.log(1.02 + share)
    return tuple((weights / weights.mean()).tolist())
