"""Runs beside each other: curves over each other, and the same pictures in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from segue.labels import IGNORE, Labels
from segue.pictures import MISS, errors, fitted, resized, thinned
from segue.report.canvas import QUIET, RULE, Canvas
from segue.report.measures import as_number, in_percent
from segue.report.plotting import COLOURS, drawn, named, quieted
from segue.report.predictions import legend_entries, with_hatching

PANELS = {"miou": "mean IoU on the validation split, %", "val_loss": "validation loss", "loss": "training loss"}


@dataclass(frozen=True)
class Columns:
    """A picture, its truth, and what each run predicts.

    image: (H, W, 3) uint8. truth and each of `predicted`: (H, W) uint8 classes. scores: the mean IoU of each.
    """

    name: str
    image: np.ndarray
    truth: np.ndarray
    predicted: Sequence[np.ndarray]
    scores: Sequence[float]


def comparison_curves(logs: Mapping[str, Sequence[Mapping[str, float]]], path: Path) -> None:
    """The runs' curves over each other: mean IoU and losses over steps. Writes a PNG, or nothing without logs."""
    shown = [key for key in PANELS if any(key in row for rows in logs.values() for row in rows)][:2]
    if not shown:
        return
    with drawn(path, 11, 4.2) as figure:
        for place, key in enumerate(shown):
            axes = figure.add_axes((0.06 + 0.5 * place, 0.13, 0.42, 0.75))
            quieted(axes, PANELS[key])
            named(axes, "step", "")
            for index, (name, rows) in enumerate(logs.items()):
                line = np.array([[as_number(row.get("step")), as_number(row.get(key))] for row in rows])
                known = np.isfinite(line).all(axis=1)
                line[:, 1] *= 100 if key == "miou" else 1
                colour, dash = COLOURS[index % len(COLOURS)], ("-", "--", ":")[index // len(COLOURS) % 3]
                marker = "o" if len(rows) <= 20 else ""
                axes.plot(line[known, 0], line[known, 1], dash, color=colour, marker=marker, markersize=3, label=name)
            axes.legend(fontsize=8, frameon=False)


WIDTH, HEIGHT = 320, 280  # the box that each picture is fitted into


def columns_picture(samples: Sequence[Columns], runs: Sequence[str], labels: Labels, path: Path) -> None:
    """Picture, truth and each run's prediction above its errors, two rows for each sample. Writes a PNG.

    Nothing is written without samples.
    """
    if not samples:
        return
    titles = ["picture", "truth", *runs]
    margin, gap, head = 30, 12, 34
    sizes = [fitted(sample.truth.shape, (HEIGHT, WIDTH)) for sample in samples]
    entries = legend_entries([one for sample in samples for one in (sample.truth, *sample.predicted)], labels)[0]
    width = 2 * margin + len(titles) * WIDTH + (len(titles) - 1) * gap
    per_row = max(1, (width - 2 * margin) // 290)
    legend = [(labels.palette[label], labels.classes[label]) for label in entries] + [
        (MISS, "wrong, in the lower rows")
    ]
    canvas = Canvas(
        width, 64 + sum(2 * size[0] + head + 2 * gap for size in sizes) + 34 * -(-len(legend) // per_row) + margin
    )
    for column, title in enumerate(titles):
        canvas.text(margin + column * (WIDTH + gap), 36, title, size=22, bold=True, width=WIDTH)
    top = 64
    for sample, size in zip(samples, sizes, strict=True):
        canvas.text(margin, top + head / 2 - 2, sample.name, size=20, colour=QUIET, width=2 * WIDTH)
        truth = thinned(sample.truth, size)
        image = thinned(sample.image, size)
        _paste(canvas, (margin, top + head), resized(image, size))
        shown = with_hatching(labels.colours(truth), truth == IGNORE, size)
        _paste(canvas, (margin + WIDTH + gap, top + head), shown)
        for column, (predicted, score) in enumerate(zip(sample.predicted, sample.scores, strict=True), start=2):
            left = margin + column * (WIDTH + gap)
            canvas.text(left, top + head / 2 - 2, f"mean IoU {in_percent(score)} %", size=20, colour=QUIET, width=WIDTH)
            guess = thinned(predicted, size)
            _paste(canvas, (left, top + head), resized(labels.colours(guess), size, smooth=False))
            wrong = with_hatching(errors(image, truth, guess), truth == IGNORE, size)
            _paste(canvas, (left, top + head + size[0] + gap // 2), wrong)
        top += 2 * size[0] + head + 2 * gap
    for index, (colour, words) in enumerate(legend):
        left = margin + index % per_row * ((width - 2 * margin) // per_row)
        middle = top + 17 + index // per_row * 34
        canvas.swatch(left, middle, colour, 22)
        canvas.text(left + 32, middle, words, size=20, width=240)
    canvas.save(path)


def _paste(canvas: Canvas, corner: tuple[int, int], picture: Image.Image) -> None:
    left, top = corner
    canvas.image.paste(picture, corner)
    canvas.draw.rectangle((left, top, left + picture.width - 1, top + picture.height - 1), outline=RULE)
