"""What the charts share: a figure that becomes a PNG, and axes that keep quiet."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from PIL import Image

from segue.report.canvas import save_png

# Okabe and Ito's colours, which stay apart for every kind of colour vision; without yellow, which vanishes on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
INK, QUIET, LINE, GRID = "#1c1e22", "#686c74", "#b4b8be", "#e4e6ea"


@contextmanager
def drawn(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A white figure of so many inches, to be drawn on; it is written to `path` as PNG when the block ends well."""
    # Settings of the machine's own matplotlibrc are put aside, and a dollar in a name is a dollar.
    with matplotlib.style.context(["default", {"text.parse_math": False, "font.family": "DejaVu Sans"}]):
        figure = Figure(figsize=(width, height), dpi=150, facecolor="white")
        FigureCanvasAgg(figure)
        yield figure
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    save_png(Image.open(buffer).convert("RGB"), path)


def quieted(axes: Axes, title: str) -> None:
    """A title at the left, thin grey axes at the left and the bottom alone, and a pale grid behind what is drawn."""
    axes.set_title(title, loc="left", fontsize=10, color=INK, fontweight="bold")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, colors=QUIET, which="both")
    for spine in axes.spines.values():
        spine.set_color(LINE)


def named(axes: Axes, horizontal: str, vertical: str) -> None:
    """What the axes are of, in small grey letters."""
    axes.set_xlabel(horizontal, fontsize=8, color=QUIET, loc="right", labelpad=2)
    axes.set_ylabel(vertical, fontsize=8, color=QUIET)


def percentages(*sides: Axis) -> None:
    """Shares between 0 and 1 are written as per cent, as everywhere on the pages."""
    for side in sides:
        side.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}"))
