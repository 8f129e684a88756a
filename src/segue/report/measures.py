"""What measures are called, and how they are written."""

from __future__ import annotations

import math

MEASURES = {
    "miou": "mean IoU",
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "fwiou": "frequency-weighted IoU",
    "dice": "mean Dice",
    "boundary_iou": "Boundary IoU",
    "boundary_f": "boundary F",
    "segnet_boundary_f": "boundary F, one to one",
    "ece": "calibration error",
    "v_rand": "V-rand",
    "v_info": "V-info",
}
"""Keys of a summary and a log -> what they are called in tables and pictures."""


def as_number(value: object) -> float:
    """A cell of a table as a number, NaN for what is none."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def in_percent(value: float) -> str:
    """0.12345 -> 12.35 (per cent); a dash for what is undefined."""
    return "–" if math.isnan(value) else f"{100 * value:.2f}"
