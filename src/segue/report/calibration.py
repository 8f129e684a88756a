"""Whether confidence can be trusted, and what happens near borders: charts of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from segue.labels import Colour
from segue.report.canvas import shortened, typeface
from segue.report.plotting import COLOURS, INK, LINE, QUIET, drawn, named, percentages, quieted

COLUMNS = 6  # small diagrams beside each other
MOST = 36  # classes with a diagram of their own: those of most pixels


@dataclass(frozen=True)
class Reliability:
    """One reliability diagram.

    accuracy, confidence, shares: of each bin, over (0, 1]; NaN where it is empty. error: the calibration error.
    colour: of the class, None for all of them. pixels: how many are counted.
    """

    name: str
    colour: Colour | None
    accuracy: np.ndarray
    confidence: np.ndarray
    shares: np.ndarray
    error: float
    pixels: int


def calibration_picture(panels: Sequence[Reliability], path: Path) -> None:
    """A large reliability diagram, the first of `panels`, above small ones of the others. Writes a PNG.

    Bars are accuracies, dots mean confidences on the diagonal; where a bar ends below its dot, the network is too sure.
    Beside the large one stands how many pixels have such a confidence.
    """
    whole, *others = panels
    shown = sorted((one for one in others if one.pixels), key=lambda one: -one.pixels)[:MOST]
    rows = math.ceil(len(shown) / COLUMNS)
    height = 3.6 + 1.75 * rows
    with drawn(path, 11, height) as figure:
        _large(figure.add_axes((0.06, 1 - 3.15 / height, 0.3, 2.75 / height)), whole)
        _histogram(figure.add_axes((0.44, 1 - 3.15 / height, 0.53, 2.75 / height)), whole)
        for index, one in enumerate(shown):
            row, column = divmod(index, COLUMNS)
            bottom = 1 - (3.6 + 1.75 * (row + 1) - 0.3) / height
            _small(figure.add_axes((0.04 + column * 0.162, bottom, 0.125, 1.05 / height)), one)


def _bars(axes: Axes, one: Reliability, colour: object) -> None:
    edges = np.linspace(0, 1, len(one.accuracy) + 1)
    known = np.isfinite(one.accuracy)
    width = edges[1]
    axes.bar(edges[:-1][known], one.accuracy[known], width * 0.92, align="edge", color=colour, edgecolor=LINE, lw=0.4)
    axes.plot([0, 1], [0, 1], "--", color=QUIET, linewidth=0.8)
    axes.plot(one.confidence[known], one.confidence[known], ".", color=INK, markersize=3)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def _large(axes: Axes, one: Reliability) -> None:
    quieted(axes, f"{one.name}: calibration error {_percent(one.error)}")
    _bars(axes, one, COLOURS[5])
    named(axes, "confidence, %", "share of hits, %")
    percentages(axes.xaxis, axes.yaxis)


def _histogram(axes: Axes, one: Reliability) -> None:
    quieted(axes, "how many pixels have such a confidence")
    edges = np.linspace(0, 1, len(one.shares) + 1)
    axes.bar(edges[:-1], one.shares, edges[1] * 0.92, align="edge", color=COLOURS[5], edgecolor=LINE, lw=0.4)
    axes.set_xlim(0, 1)
    named(axes, "confidence, %", "share of pixels, %")
    percentages(axes.xaxis, axes.yaxis)


def _small(axes: Axes, one: Reliability) -> None:
    name = shortened(one.name, 4 * 84, typeface(32))
    quieted(axes, "")
    axes.set_title(f"{name}  {_percent(one.error)}", loc="left", fontsize=7.5, color=INK)
    colour = tuple(channel / 255 for channel in one.colour) if one.colour is not None else COLOURS[5]
    _bars(axes, one, colour)
    axes.set_xticks([0, 0.5, 1], ["0", "50", "100"])
    axes.set_yticks([0, 0.5, 1], ["0", "50", "100"])
    axes.tick_params(labelsize=6.5)


def trimap_picture(widths: Sequence[int], curve: np.ndarray, path: Path) -> None:
    """Mean IoU and pixel accuracy within growing bands along the true borders. Writes a PNG.

    curve: (W, 2) of each width, in pixels to each side.
    """
    with drawn(path, 11, 3.6) as figure:
        for column, title in enumerate(("mean IoU", "pixel accuracy")):
            axes = figure.add_axes((0.06 + column * 0.5, 0.15, 0.42, 0.7))
            quieted(axes, f"{title} near borders")
            known = np.isfinite(curve[:, column])
            axes.plot(np.array(widths)[known], curve[known, column], "o-", color=COLOURS[column], markersize=3.5)
            axes.set_xlim(0, max(widths) + 1)
            named(axes, "pixels to each side of the border", f"{title}, %")
            percentages(axes.yaxis)


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.1f} %"
