"""Small plots with axes, as pictures for a sheet."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from segue.labels import Labels

PLAIN: list[str | dict[str, Any]] = ["default", {"text.parse_math": False, "font.family": "DejaVu Sans"}]
"""Settings of the machine's own matplotlibrc are put aside, and a dollar in a name is a dollar."""


def axes_picture(plot: Callable[[Axes], None], inches: tuple[float, float]) -> np.ndarray:
    """What `plot` draws on axes of its own: (h, w, 3) uint8, 150 pixels to the inch."""
    with matplotlib.style.context(PLAIN):
        figure = Figure(figsize=inches, dpi=150, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        plot(axes)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return np.asarray(Image.open(buffer).convert("RGB"))


def scatter(points: np.ndarray, classes: Sequence[int], labels: Labels) -> np.ndarray:
    """Points (n, 2) in their classes' colours: (h, w, 3) uint8."""

    def plot(axes: Axes) -> None:
        colours = np.array(labels.palette)[list(classes)] / 255
        axes.scatter(points[:, 0], points[:, 1], c=colours, s=22, edgecolors="#444444", linewidths=0.4)
        axes.set_axis_off()

    return axes_picture(plot, (7.0, 6.0))
