"""The range of a data set's values, for pictures that ImageNet's mean and deviation do not fit."""

from __future__ import annotations

import numpy as np

from segue.data.source import DataSet

MOST_PICTURES = 200


def is_usual(image: np.ndarray) -> bool:
    """Whether a picture (H, W, C) is RGB of 8 bits."""
    return image.dtype == np.uint8 and image.shape[2] == 3


def mean_and_deviation(data: DataSet) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, over pictures spread evenly through the split (200 at most).

    Values that are not finite, which some cameras write for "nothing seen", are left out. A channel that never changes
    has deviation 1.
    """
    count = sums = squares = np.zeros(data.image(0).shape[2])
    for index in np.linspace(0, len(data) - 1, min(len(data), MOST_PICTURES)).astype(int):
        pixels = data.image(int(index)).astype(np.float64).reshape(-1, len(sums))
        finite = np.isfinite(pixels)
        pixels = np.where(finite, pixels, 0)
        count, sums, squares = count + finite.sum(axis=0), sums + pixels.sum(axis=0), squares + (pixels**2).sum(axis=0)
    mean = sums / np.maximum(count, 1)
    deviation = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0))
    deviation = np.where(deviation > 0, deviation, 1)
    return tuple(float(f"{one:.6g}") for one in mean), tuple(float(f"{one:.6g}") for one in deviation)
