"""What each update of the dense CRF changes, as one picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from segue.labels import IGNORE, Labels
from segue.pictures import fitted, hatching, resized, thinned
from segue.report.canvas import INK, QUIET, RULE, Canvas
from segue.report.measures import in_percent

CELL_WIDTH, CELL_HEIGHT = 300, 300  # the box that each picture is fitted into
MARGIN, GAP, HEAD = 30, 12, 34
CURVE_HEIGHT = 230
LINE = (0, 114, 178)  # the blue of Okabe and Ito
LEGEND_MOST = 32  # classes in the legend


@dataclass(frozen=True)
class Sharpening:
    """A picture, what is true, and the classes after some numbers of updates.

    image: (H, W, 3) uint8 RGB. truth: (H, W) uint8 classes, `IGNORE` where it is not known. after: number of updates ->
    (H, W) uint8 classes.
    """

    name: str
    image: np.ndarray
    truth: np.ndarray
    after: Mapping[int, np.ndarray]


def iterations_picture(samples: Sequence[Sharpening], miou: Sequence[float], labels: Labels, path: Path) -> None:
    """Picture, truth and classes after some updates of each sample, above the curve of the mean IoU. Writes a PNG.

    miou: of these samples together, after 0, 1, 2, ... updates. All samples show the same numbers of updates.
    """
    counts = sorted(samples[0].after)
    titles = ["image", "truth", "without CRF", *(f"{n} update{'s' if n > 1 else ''}" for n in counts if n)]
    sizes = [fitted(sample.truth.shape, (CELL_HEIGHT, CELL_WIDTH)) for sample in samples]
    width = 2 * MARGIN + len(titles) * CELL_WIDTH + (len(titles) - 1) * GAP
    entries = _occurring(samples, labels)
    per_row = max(1, (width - 2 * MARGIN) // 260)
    legend = 32 * math.ceil(len(entries) / per_row)
    height = 60 + sum(size[0] + HEAD + GAP for size in sizes) + 20 + legend + 50 + CURVE_HEIGHT + 2 * MARGIN
    canvas = Canvas(width, height)
    for column, title in enumerate(titles):
        canvas.text(MARGIN + column * (CELL_WIDTH + GAP), 34, title, size=24, bold=True, width=CELL_WIDTH)
    top = 60
    for sample, size in zip(samples, sizes, strict=True):
        canvas.text(MARGIN, top + HEAD / 2 - 2, sample.name, size=20, colour=QUIET, width=width - 2 * MARGIN)
        shown = [None, sample.truth, *(sample.after[count] for count in counts)]
        for column, classes in enumerate(shown):
            left, upper = MARGIN + column * (CELL_WIDTH + GAP), top + HEAD
            picture = _coloured(classes, labels, size) if classes is not None else resized(sample.image, size)
            canvas.image.paste(picture, (left, upper))
            canvas.draw.rectangle((left, upper, left + size[1] - 1, upper + size[0] - 1), outline=RULE)
        top += size[0] + HEAD + GAP
    top += 20
    for index, label in enumerate(entries):
        left = MARGIN + index % per_row * 260
        middle = top + 16 + index // per_row * 32
        canvas.swatch(left, middle, labels.palette[label], 20)
        canvas.text(left + 30, middle, labels.classes[label], size=20, width=220)
    top += legend + 50
    _curve(canvas, miou, (MARGIN, top, min(width - MARGIN, MARGIN + 900), top + CURVE_HEIGHT))
    canvas.save(path)


def _coloured(classes: np.ndarray, labels: Labels, size: tuple[int, int]) -> Image.Image:
    """Classes in their colours, hatched where they are not known."""
    classes = thinned(classes, size)
    picture = resized(labels.colours(classes), size, smooth=False)
    unknown = Image.fromarray((classes == IGNORE).astype(np.uint8) * 255).resize(picture.size, Image.Resampling.NEAREST)
    picture.paste(Image.fromarray(hatching(*size)), mask=unknown)
    return picture


def _occurring(samples: Sequence[Sharpening], labels: Labels) -> list[int]:
    """The classes of the samples, in their order; with very many, those of most pixels."""
    maps = [classes for sample in samples for classes in (sample.truth, *sample.after.values())]
    counts = np.bincount(np.concatenate([classes.reshape(-1) for classes in maps]), minlength=256)
    found = [label for label in range(labels.num_classes) if counts[label]]
    return sorted(sorted(found, key=lambda label: -counts[label])[:LEGEND_MOST])


def _curve(canvas: Canvas, miou: Sequence[float], box: tuple[int, int, int, int]) -> None:
    """The mean IoU over the updates, each point named by its value."""
    left, top, right, bottom = box
    canvas.text(left, top - 26, "mean IoU of these pictures after each update, in per cent", size=22, bold=True)
    known = [value for value in miou if not math.isnan(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    span = max(high - low, 1e-4)
    inner = (left + 40, top + 40, right - 40, bottom - 40)
    canvas.draw.line((left, bottom - 10, right, bottom - 10), fill=RULE, width=2)
    points = []
    for count, value in enumerate(miou):
        x = inner[0] + (inner[2] - inner[0]) * count / max(len(miou) - 1, 1)
        canvas.text(x, bottom + 10, str(count), size=18, colour=QUIET, anchor="mm")
        if not math.isnan(value):
            points.append((x, inner[3] - (inner[3] - inner[1]) * (value - low) / span, value))
    canvas.draw.line([(x, y) for x, y, _ in points], fill=LINE, width=4, joint="curve")
    every = max(1, math.ceil(len(points) / 12))
    for index, (x, y, value) in enumerate(points):
        canvas.draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=LINE)
        if index % every == 0 or index == len(points) - 1:
            canvas.text(x, y - 22, in_percent(value), size=18, colour=INK, anchor="mm")
