"""Numbers as colours: maps that stay readable for every kind of colour vision, and on grey print."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import matplotlib
import numpy as np

GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class Scale:
    """What a colour stands for: numbers from `low` to `high`.

    colours: a colour map of matplotlib's: viridis, cividis, gray, gray_r, or PuOr_r for numbers on both sides of zero.
    unit: what is said beside the scale.
    """

    low: float
    high: float
    colours: str = "viridis"
    unit: str = ""


def scale_of(values: np.ndarray, *, colours: str = "viridis", unit: str = "", rim: float = 0.0) -> Scale:
    """The scale that these values fill; `rim` is the share at either end that may lie beyond it."""
    known = values[np.isfinite(values)]
    low, high = (float(end) for end in np.quantile(known, (rim, 1 - rim))) if known.size else (0.0, 1.0)
    return Scale(low, high if high > low else low + 1e-12, colours, unit)


def signed_scale(values: np.ndarray, unit: str = "") -> Scale:
    """A scale around zero: purple below, orange above."""
    most = float(np.abs(values[np.isfinite(values)]).max(initial=0)) or 1e-12
    return Scale(-most, most, "PuOr_r", unit)


def coloured(values: np.ndarray, scale: Scale) -> np.ndarray:
    """(H, W) numbers -> (H, W, 3) uint8; what is beyond the scale has the colour of its end."""
    share = (values.astype(np.float32) - scale.low) / (scale.high - scale.low)
    steps = np.nan_to_num(np.clip(share, 0, 1) * 255).round().astype(np.uint8)
    return _table(scale.colours)[steps]


@cache
def _table(name: str) -> np.ndarray:
    table: np.ndarray = matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3]
    return table


def stretched(values: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Numbers or classes (h, w) at a picture's size (H, W), cells as rectangles."""
    (height, width), (cells_down, cells_across) = size[:2], values.shape
    rows = np.minimum((np.arange(height) + 0.5) * cells_down / height, cells_down - 1).astype(int)
    columns = np.minimum((np.arange(width) + 0.5) * cells_across / width, cells_across - 1).astype(int)
    return values[rows][:, columns]


def grey(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> the same in grey."""
    return np.repeat((picture @ GREY).astype(np.uint8)[..., None], 3, axis=2)


def over(picture: np.ndarray, colours: np.ndarray, opacity: float = 0.72) -> np.ndarray:
    """Colours (H, W, 3) laid over a picture (H, W, 3) in grey."""
    return (opacity * colours + (1 - opacity) * grey(picture)).round().astype(np.uint8)


def unit_interval(values: np.ndarray) -> np.ndarray:
    """The values moved and stretched to 0..1; zeros where they are all the same."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)
