"""How a run went, as curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter

from segue.report.canvas import shortened, typeface
from segue.report.measures import MEASURES, as_number
from segue.report.plotting import COLOURS, QUIET, drawn, named, quieted

SPACING = 11.0  # points from one name to the next
NAME_WIDTH = 110.0  # points that a line's name may take
MEASURES_TITLE = "measures on the validation split"


def curves(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """How a run went, as small pictures side by side: losses, measures, learning rate and speed. Writes a PNG.

    rows: one per validation, in order, with the keys of log.csv: `step`, `loss`, `loss/<term>`, `val_loss`, `miou` and
    the other measures, `lr`, `images_per_s`, `waiting`. Keys may be missing, and numbers may be NaN; further keys
    are left out. Where a `step` is missing, rows are counted from 1.
    """
    terms = sorted({key for row in rows for key in row if key.startswith("loss/")})
    losses = {"val_loss": "validation", "loss": "training"} | {key: key.removeprefix("loss/") for key in terms}
    if len(terms) == 1:  # then it is the loss itself
        del losses[terms[0]]
    panels = (
        ("loss", losses),
        (MEASURES_TITLE, dict(MEASURES)),
        ("learning rate", {"lr": ""}),
        ("training images per second", {"images_per_s": ""}),
        ("share of time waiting for data", {"waiting": ""}),
    )
    columns = {key: np.array([as_number(row.get(key)) for row in rows]) for _, keys in panels for key in keys}
    steps = np.array([as_number(row.get("step")) for row in rows])
    if not np.isfinite(steps).all():
        steps = np.arange(1.0, len(rows) + 1)
    shown = [
        (title, {key: name for key, name in keys.items() if np.isfinite(columns[key]).any()}) for title, keys in panels
    ]
    shown = [(title, keys) for title, keys in shown if keys]
    with drawn(path, 11, 7.2 if len(shown) > 2 else 4.2) as figure:
        if not shown:
            figure.text(0.5, 0.5, "no numbers were logged", ha="center", va="center", color=QUIET)
        for position, (title, keys) in zip(_places(len(shown)), shown, strict=True):
            axes = figure.add_axes(position)
            _panel(axes, title, steps, {name: columns[key] for key, name in keys.items()})


def _places(count: int) -> Iterator[tuple[float, float, float, float]]:
    """(left, bottom, width, height) of each panel: two wide ones above, the rest below in a row."""
    above = min(count, 2)
    below = count - above
    left, right, gap = 0.06, 0.985, 0.065
    for index in range(above):
        width = (right - left - gap * (above - 1)) / above
        bottom, height = (0.45, 0.48) if below else (0.13, 0.75)
        yield left + index * (width + gap), bottom, width, height
    for index in range(below):
        width = (right - left - gap * (below - 1)) / below
        yield left + index * (width + gap), 0.085, width, 0.22


def _panel(axes: Axes, title: str, steps: np.ndarray, series: Mapping[str, np.ndarray]) -> None:
    """One small picture: lines, named at their ends in their own colours."""
    quieted(axes, title)
    values = np.concatenate([one[np.isfinite(one)] for one in series.values()])
    if title == "loss" and values.min() > 0 and values.max() > 50 * values.min():
        axes.set_yscale("log")
    few = len(steps) <= 20
    ends = []
    for index, (name, line) in enumerate(series.items()):
        colour = COLOURS[index % len(COLOURS)]
        dash = ("-", "--", ":")[index // len(COLOURS) % 3]
        known = np.isfinite(line)
        axes.plot(
            steps[known],
            line[known],
            dash,
            color=colour,
            linewidth=2.4 if name == MEASURES["miou"] else 1.5,
            marker="o" if few else "",
            markersize=3,
        )
        ends.append((float(line[known][-1]), name, colour))
    if title not in ("loss", MEASURES_TITLE):
        # A rate that hardly changes shall look so; one that is zero still needs an axis.
        axes.set_ylim(min(0.0, float(values.min())), max(1.08 * float(values.max()), 1e-9))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    named(axes, "step", "")
    _name_ends(axes, steps, ends)


def _name_ends(axes: Axes, steps: np.ndarray, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write each line's last value and name, (value, name, colour), right of it, so that none covers another.

    The axes give up the room that the longest text needs. Where there are more lines than room, the lowest go unnamed.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    box = axes.get_position()
    width, height = (box.width * figure.get_figwidth() * 72, box.height * figure.get_figheight() * 72)  # points
    ends = sorted(ends, key=lambda end: -end[0])
    most = int(height // SPACING)
    texts = [_shortened_end(value, name) for value, name, _ in ends[: most - 1 if len(ends) > most else most]]
    room = max(_points_wide(text) for text in texts) + 14
    axes.set_position((box.x0, box.y0, box.width * (1 - room / width), box.height))
    pad = 0.02 * (float(np.ptp(steps)) or 50.0)
    axes.set_xlim(steps.min() - pad, steps.max() + pad)
    axes.xaxis.set_major_locator(
        MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]) if np.ptp(steps) else FixedLocator([steps[0]])
    )

    def write(place: float, text: str, colour: str) -> None:
        axes.annotate(
            text, (1, place / height), (6, 0), "axes fraction", "offset points", fontsize=8, color=colour, va="center"
        )

    lowest = SPACING if len(ends) > len(texts) else 0.0
    at_zero, at_one = axes.transAxes.transform([(0, 0), (0, 1)])[:, 1]
    pixels = axes.transData.transform([(0, value) for value, _, _ in ends[: len(texts)]])[:, 1]
    wanted = (pixels - at_zero) / (at_one - at_zero) * height
    for place, text, (_, _, colour) in zip(_spread(wanted.tolist(), lowest), texts, ends, strict=False):
        write(place, text, colour)
    if len(ends) > len(texts):
        write(0, f"and {len(ends) - len(texts)} more", QUIET)


def _spread(wanted: Sequence[float], lowest: float) -> list[float]:
    """Heights, from the highest down, moved as little as keeps them a line apart and above `lowest`."""
    places = list(wanted)
    for index in range(1, len(places)):
        places[index] = min(places[index], places[index - 1] - SPACING)
    for index in reversed(range(len(places))):
        places[index] = max(places[index], lowest + SPACING * (len(places) - 1 - index))
    return places


def _shortened_end(value: float, name: str) -> str:
    number = f"{value:.3f}" if 0.01 <= abs(value) < 10 else f"{value:.3g}"
    return f"{number}  {shortened(name, 4 * NAME_WIDTH, typeface(32))}".rstrip()


def _points_wide(text: str) -> float:
    return typeface(32).getlength(text) / 4  # four times 8 points: widths in fractions of a point
