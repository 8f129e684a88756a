"""Class weights from the pixels of the training masks."""

from __future__ import annotations

import numpy as np

from segue.data.class_index import ClassIndex


def median_frequency(index: ClassIndex) -> tuple[float, ...]:
    """Median of the frequencies / frequency, which is pixels / pixels of the pictures that hold the class.

    Eigen and Fergus (ICCV 2015), as SegNet uses it. A class that never occurs gets 0.
    """
    frequency = index.total / np.maximum(index.present, 1)
    occurs = frequency > 0
    median = float(np.median(frequency[occurs])) if occurs.any() else 0.0
    return tuple(median / value if value > 0 else 0.0 for value in frequency.tolist())


def inverse_log_frequency(index: ClassIndex) -> tuple[float, ...]:
    """1 / log(1.02 + share of all pixels), as ENet has it (Paszke et al., arXiv:1606.02147), scaled to a mean of 1."""
    weights = 1 / np.log(1.02 + index.share)
    return tuple((weights / weights.mean()).tolist())
