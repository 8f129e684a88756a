"""Which classes are taken for which."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

from segue.labels import Colour, Labels
from segue.pictures import MISS, hatching
from segue.report.canvas import INK, PAPER, QUIET, RULE, Canvas, drawable, typeface

HIT = (0, 84, 147)
LOWEST = 0.5  # exponent of a share's darkness: at 0.5, a share of 1 % is a tenth as dark as one of 100 %


def confusion_picture(table: np.ndarray, labels: Labels, path: Path) -> None:
    """A confusion matrix as shares of each true class's pixels: rows true, columns predicted. Writes a PNG.

    table: (K, K) counts. Hits are blue and confusions orange, so that a weak class shows twice: as a pale diagonal and
    as orange beside it. Cells hold per cents where there is room. Raises ValueError when the table is not (K, K).
    """
    count = labels.num_classes
    if table.shape != (count, count):
        raise ValueError(f"the table is {table.shape}, but there are {count} classes")
    counts = np.asarray(table, dtype=np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)

    cell = 72 if count <= 12 else 48 if count <= 25 else 24 if count <= 60 else 14
    size = min(22, cell - 2)
    name_font = typeface(size)
    longest = max(name_font.getlength(drawable(name)) for name in labels.classes)
    name_width = min(math.ceil(longest), 340)
    flat = longest <= cell - 8  # names that fit above their columns lie; longer ones stand
    left = 52 + max(name_width, 110)
    top = 110 + (size + 10 if flat else name_width + 12)
    side = cell * count
    canvas = Canvas(max(left + side + 40, 900), top + side + 150)
    canvas.text(40, 36, "Confusion matrix", size=28, bold=True)
    canvas.text(40, 72, "share of each true class's pixels, in per cent", size=20, colour=QUIET)

    squares = np.empty((count, count, 3), dtype=np.uint8)
    for row in range(count):
        for column in range(count):
            squares[row, column] = _shade(float(shares[row, column]), HIT if row == column else MISS)
    enlarged = np.kron(squares, np.ones((cell, cell, 1), dtype=np.uint8))
    for row in np.flatnonzero(totals[:, 0] == 0).tolist():
        enlarged[row * cell : (row + 1) * cell] = hatching(cell, side)
    canvas.image.paste(Image.fromarray(enlarged), (left, top))
    every = 1 if cell >= 24 else 10  # cells too small for lines of their own are counted by tens
    for index in range(0, count + 1, every):
        at = index * cell
        canvas.draw.line((left, top + at, left + side, top + at), fill=RULE)
        canvas.draw.line((left + at, top, left + at, top + side), fill=RULE)
    canvas.draw.rectangle((left, top, left + side, top + side), outline=QUIET)

    for index, name in enumerate(labels.classes):
        middle = index * cell + cell / 2
        absent = totals[index, 0] == 0
        canvas.text(
            left - 12, top + middle, name, size=size, width=name_width, colour=QUIET if absent else INK, anchor="rm"
        )
        if flat:
            canvas.text(left + middle, top - 10 - size / 2, name, size=size, width=cell, anchor="mm")
        else:
            canvas.upright(left + middle, top - 10, name, size=size, width=name_width, colour=INK)
    canvas.text(left - 12, top - 44, "predicted \u2192", size=20, colour=QUIET, anchor="rm")
    canvas.text(left - 12, top - 16, "true \u2193", size=20, colour=QUIET, anchor="rm")
    if cell >= 48:
        _write_shares(canvas, shares, totals[:, 0] == 0, (left, top), cell)
    _confusion_key(canvas, left, top + side + 40, bool((totals == 0).any()))
    canvas.save(path)


def _shade(share: float, colour: Colour) -> tuple[int, ...]:
    dark = share**LOWEST
    return tuple(round(255 + (channel - 255) * dark) for channel in colour)


def _write_shares(canvas: Canvas, shares: np.ndarray, absent: np.ndarray, corner: tuple[int, int], cell: int) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if absent[row] or share == 0:
            continue
        percent = 100 * share
        text = "<1" if percent < 0.5 else f"{percent:.1f}" if cell >= 72 and percent < 99.95 else f"{percent:.0f}"
        if cell >= 72 and percent < 0.05:
            text = "<.1"
        elif cell >= 72 and percent < 0.5:
            text = f"{percent:.1f}"
        red, green, blue = _shade(float(share), HIT if row == column else MISS)
        light = 0.299 * red + 0.587 * green + 0.114 * blue > 140
        canvas.text(
            corner[0] + column * cell + cell / 2,
            corner[1] + row * cell + cell / 2,
            text,
            size=20 if cell >= 72 else 17,
            colour=INK if light else PAPER,
            anchor="mm",
        )


def _confusion_key(canvas: Canvas, left: int, top: int, absent: bool) -> None:
    left = min(left, canvas.image.width - 720)
    for index, (name, colour) in enumerate((("right", HIT), ("confused", MISS))):
        start = left + index * 330
        canvas.text(start, top, name, size=18, colour=INK)
        for step in range(240):
            line = (start + step, top + 16, start + step, top + 36)
            canvas.draw.line(line, fill=_shade((step / 239) ** (1 / LOWEST), colour))
        for percent in (1, 10, 50, 100):
            at = start + 239 * (percent / 100) ** LOWEST
            canvas.draw.line((at, top + 36, at, top + 42), fill=QUIET)
            canvas.text(at, top + 54, f"{percent}", size=16, colour=QUIET, anchor="mm")
        canvas.text(start + 254, top + 54, "%", size=16, colour=QUIET)
    if absent:
        canvas.image.paste(Image.fromarray(hatching(18, 18)), (left, top + 78))
        canvas.text(left + 28, top + 87, "the class does not occur in the truth", size=18, colour=QUIET)
