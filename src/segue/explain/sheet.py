"""A sheet of small pictures in rows, with titles, colour scales, marks and a legend of the classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from segue.explain.colouring import Scale, coloured
from segue.labels import IGNORE, Colour, Labels
from segue.pictures import MISS, fitted, hatching, resized, thinned
from segue.report.canvas import INK, PAPER, QUIET, RULE, Canvas, typeface

WIDTH = 1680
MARGIN, GAP = 32, 18
TITLE, TEXT, SMALL, UNIT = 30, 20, 18, 16
TITLE_LINE, NOTE_LINE = 27, 24  # pixels from one line to the next
BAR, FOOT = 14, 54  # pixels that a colour scale is high, alone and with its numbers
TALLEST, WIDEST = 560, 640  # of a single picture
BESIDE = 220  # pixels for the names of rows


@dataclass(frozen=True)
class Mark:
    """A place on a picture: a ring, named; its centre as shares of width and height."""

    x: float
    y: float
    name: str = ""


@dataclass(frozen=True)
class Box:
    """A rectangle on a picture, in shares of width and height; it may reach beyond. dashed: drawn so."""

    left: float
    top: float
    right: float
    bottom: float
    dashed: bool = False


@dataclass(frozen=True)
class Cell:
    """One picture of a sheet.

    picture: (h, w, 3) uint8. title: over it; note: a quiet line below the title. scale: what its colours stand for.
    smooth: whether enlarging may interpolate, which classes and cells do not bear. unknown: (h, w) bool, hatched.
    """

    picture: np.ndarray
    title: str = ""
    note: str = ""
    scale: Scale | None = None
    smooth: bool = False
    unknown: np.ndarray | None = None
    marks: Sequence[Mark] = ()
    boxes: Sequence[Box] = ()


@dataclass(frozen=True)
class Sheet:
    """Rows of cells under a title.

    text: what is seen and how to read it, in sentences. names: before each row, if given.
    classes: those of `labels` that the legend names; errors: whether it explains an error map; extra: further names and
    colours of it. widest: pixels that a picture may be wide.
    """

    title: str
    text: str
    rows: Sequence[Sequence[Cell]]
    names: Sequence[str] = ()
    labels: Labels | None = None
    classes: Sequence[int] = ()
    errors: bool = False
    extra: Sequence[tuple[str, Colour]] = ()
    widest: int = WIDEST


def heat(values: np.ndarray, scale: Scale, title: str, note: str = "", *, smooth: bool = False) -> Cell:
    """Numbers (h, w) as a cell, with their scale; NaN is nothing, and white."""
    picture = coloured(values, scale)
    picture[np.isnan(values)] = PAPER
    return Cell(picture, title, note, scale, smooth)


def class_map(classes: np.ndarray, labels: Labels, title: str, note: str = "") -> Cell:
    """Classes (h, w) in their colours as a cell, hatched where they are not known."""
    unknown = classes == IGNORE
    return Cell(labels.colours(classes), title, note, unknown=unknown if unknown.any() else None)


def draw(sheet: Sheet) -> Image.Image:
    """The sheet as a picture."""
    columns = max(len(row) for row in sheet.rows)
    beside = BESIDE if sheet.names else 0
    room = WIDTH - 2 * MARGIN - beside
    width = min(sheet.widest, (room - (columns - 1) * GAP) // columns)
    page = max(760, 2 * MARGIN + beside + columns * width + (columns - 1) * GAP)
    lines = _wrapped(sheet.text, page - 2 * MARGIN, TEXT)
    sizes = [max(fitted(cell.picture.shape[:2], (TALLEST, width))[0] for cell in row) for row in sheet.rows]
    heads = [_head(row, width) for row in sheet.rows]
    feet = [FOOT if any(cell.scale for cell in row) else 10 for row in sheet.rows]
    legend = _legend_lines(sheet, page - 2 * MARGIN)
    top = MARGIN + (46 if sheet.title else 0) + 28 * len(lines) + 12
    height = top + sum(map(sum, zip(sizes, heads, feet, strict=True))) + GAP * len(sizes) + 34 * len(legend) + MARGIN
    canvas = Canvas(page, height)
    canvas.text(MARGIN, MARGIN + 16, sheet.title, size=TITLE, bold=True, width=page - 2 * MARGIN)
    for index, line in enumerate(lines):
        canvas.text(MARGIN, MARGIN + 56 + 28 * index, line, size=TEXT, colour=QUIET)
    for index, row in enumerate(sheet.rows):
        if sheet.names:
            _row_name(canvas, sheet.names[index], top + heads[index] + sizes[index] / 2, beside - 14)
        for place, cell in enumerate(row):
            left = MARGIN + beside + place * (width + GAP)
            _draw_cell(canvas, cell, (left, top, width, heads[index], sizes[index]))
        top += sizes[index] + heads[index] + feet[index] + GAP
    _draw_legend(canvas, legend, top)
    return canvas.image


def _head(row: Sequence[Cell], width: int) -> int:
    """Pixels above the pictures of a row, each so wide."""
    titles, notes = (max(map(len, lines)) for lines in zip(*(_head_lines(cell, width) for cell in row), strict=True))
    return TITLE_LINE * titles + NOTE_LINE * notes + (4 if titles or notes else 0)


def _head_lines(cell: Cell, width: int) -> tuple[list[str], list[str]]:
    """The lines of a cell's title and of its note."""
    return _wrapped(cell.title, width, TEXT, bold=True), _wrapped(cell.note, width, SMALL)


def _wrapped(text: str, width: int, size: int, *, bold: bool = False) -> list[str]:
    """Text in lines of at most so many pixels; a longer word stands alone."""
    font, lines = typeface(size, bold), []
    for part in text.splitlines():
        line = ""
        for word in part.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > width:
                lines.append(line)
                line = word
            else:
                line = longer
        lines.append(line)
    return [line for line in lines if line]


def _row_name(canvas: Canvas, name: str, middle: float, width: int) -> None:
    lines = _wrapped(name, width, TEXT, bold=True)
    for index, line in enumerate(lines):
        at = middle + 26 * (index - (len(lines) - 1) / 2)
        canvas.text(MARGIN, at, line, size=TEXT, width=width, bold=index == 0)


def _draw_cell(canvas: Canvas, cell: Cell, place: tuple[int, int, int, int, int]) -> None:
    """place: left, top, width, pixels of the head, and pixels of the row's highest picture."""
    left, top, width, head, row_height = place
    titles, notes = _head_lines(cell, width)
    for index, line in enumerate(titles):
        canvas.text(left, top + 12 + TITLE_LINE * index, line, size=TEXT, bold=True, width=width)
    for index, line in enumerate(notes):
        middle = top + 12 + TITLE_LINE * len(titles) + NOTE_LINE * index
        canvas.text(left, middle, line, size=SMALL, colour=QUIET, width=width)
    size = fitted(cell.picture.shape[:2], (row_height, width))
    upper = top + head
    picture = resized(thinned(cell.picture, size) if not cell.smooth else cell.picture, size, smooth=cell.smooth)
    if cell.unknown is not None:
        mask = Image.fromarray(cell.unknown.astype(np.uint8) * 255).resize(picture.size, Image.Resampling.NEAREST)
        picture.paste(Image.fromarray(hatching(*size)), mask=mask)
    for box in cell.boxes:
        _draw_box(picture, box)
    canvas.image.paste(picture, (left, upper))
    canvas.draw.rectangle((left, upper, left + size[1] - 1, upper + size[0] - 1), outline=RULE)
    for mark in cell.marks:
        _draw_mark(canvas, mark, (left, upper, size[1], size[0]))
    if cell.scale is not None:
        _draw_scale(canvas, cell.scale, left, upper + size[0] + 8, size[1])


def _draw_mark(canvas: Canvas, mark: Mark, area: tuple[int, int, int, int]) -> None:
    left, top, width, height = area
    x, y = left + mark.x * width, top + mark.y * height
    for radius, colour, line in ((12, INK, 6), (12, PAPER, 3)):
        canvas.draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour, width=line)
    if mark.name:
        font = typeface(SMALL, bold=True)
        long = font.getlength(mark.name)
        at = x + 18 if x + 22 + long < left + width else x - 18 - long
        canvas.draw.text((at, y), mark.name, fill=PAPER, font=font, anchor="lm", stroke_width=3, stroke_fill=INK)


def _draw_box(picture: Image.Image, box: Box) -> None:
    pen = ImageDraw.Draw(picture)
    left, right = box.left * picture.width, box.right * picture.width
    top, bottom = box.top * picture.height, box.bottom * picture.height
    sides = (
        ((left, top), (right, top)),
        ((right, top), (right, bottom)),
        ((right, bottom), (left, bottom)),
        ((left, bottom), (left, top)),
    )
    for (x0, y0), (x1, y1) in sides:
        length = math.hypot(x1 - x0, y1 - y0)
        dashes = max(1, round(length / 18)) if box.dashed else 1
        for index in range(dashes):
            begin, end = index / dashes, (index + (0.55 if box.dashed else 1)) / dashes
            line = (x0 + begin * (x1 - x0), y0 + begin * (y1 - y0), x0 + end * (x1 - x0), y0 + end * (y1 - y0))
            pen.line(line, fill=INK, width=6)
            pen.line(line, fill=PAPER, width=3)


def _draw_scale(canvas: Canvas, scale: Scale, left: int, top: int, width: int) -> None:
    """A bar as wide as its picture; below it the numbers of its ends, and the unit between them."""
    ramp = coloured(np.linspace(scale.low, scale.high, width)[None], scale).repeat(BAR, axis=0)
    canvas.image.paste(Image.fromarray(ramp), (left, top))
    canvas.draw.rectangle((left, top, left + width - 1, top + BAR - 1), outline=RULE)
    middle, font = top + BAR + 13, typeface(UNIT)
    low, high = number(scale.low), number(scale.high)
    ends = max(font.getlength(low), font.getlength(high)) + 8
    canvas.text(left, middle, low, size=UNIT, colour=QUIET)
    canvas.text(left + width, middle, high, size=UNIT, colour=QUIET, anchor="rm")
    room = max(0.0, width - 2 * ends)
    canvas.text(left + width / 2, middle, scale.unit, size=UNIT, colour=QUIET, width=room, anchor="mm")


def number(value: float) -> str:
    """A number in as few letters as tell it."""
    if value == 0 or 0.1 <= abs(value) < 1000:
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return f"{value:.2g}".replace("e-0", "e-").replace("e+0", "e")


Entry = tuple[str, Colour | None]
"""A legend's name and colour; None for hatching."""


def _legend_lines(sheet: Sheet, width: int) -> list[list[Entry]]:
    entries: list[Entry] = []
    if sheet.labels is not None:
        entries += [(sheet.labels.classes[label], sheet.labels.palette[label]) for label in sheet.classes]
    entries += list(sheet.extra)
    if any(cell.unknown is not None and cell.unknown.any() for row in sheet.rows for cell in row):
        entries.append(("not labelled", None))
    if sheet.errors:
        entries.append(("wrong", MISS))
    lines: list[list[Entry]] = []
    used = math.inf
    for name, colour in entries:
        long = typeface(TEXT).getlength(name) + 62
        if used + long > width:
            lines.append([])
            used = 0
        lines[-1].append((name, colour))
        used += long
    return lines


def _draw_legend(canvas: Canvas, lines: Sequence[Sequence[Entry]], top: int) -> None:
    for row, line in enumerate(lines):
        left, middle = float(MARGIN), top + 17 + 34 * row
        for name, colour in line:
            if colour is None:
                canvas.image.paste(Image.fromarray(hatching(20, 20)), (round(left), round(middle - 10)))
            else:
                canvas.swatch(left, middle, colour, 20)
            canvas.text(left + 28, middle, name, size=TEXT)
            left += typeface(TEXT).getlength(name) + 62
