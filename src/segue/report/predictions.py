"""Pictures beside their truth, prediction and error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from segue.labels import IGNORE, Labels
from segue.pictures import MISS, errors, fitted, hatching, resized, thinned
from segue.report.canvas import QUIET, RULE, Canvas, shortened, typeface


@dataclass(frozen=True)
class Panel:
    """A picture with what is true and what was predicted.

    image: (H, W, 3) uint8 RGB. truth, predicted: (H, W) uint8 classes, `IGNORE` where the truth is not known.
    """

    name: str
    image: np.ndarray
    truth: np.ndarray | None
    predicted: np.ndarray


PANEL_WIDTH, PANEL_HEIGHT = 440, 500  # the box that each picture is fitted into
LEGEND_MOST = 48  # classes in a legend


def predictions_picture(samples: Sequence[Panel], labels: Labels, path: Path) -> None:
    """Picture, truth, prediction and error of each sample, with a legend. Writes a PNG.

    The columns of truth and error are left out where no sample has a truth. In the error, hits are pale grey, misses
    vermilion, and ignored pixels hatched. With many classes, the legend names those that occur, the largest first kept.
    """
    with_truth = any(sample.truth is not None for sample in samples)
    titles = ("image", "truth", "prediction", "error") if with_truth else ("image", "prediction")
    margin, gap, head = 30, 14, 38
    sizes = [fitted(sample.predicted.shape, (PANEL_HEIGHT, PANEL_WIDTH)) for sample in samples]
    width = 2 * margin + len(titles) * PANEL_WIDTH + (len(titles) - 1) * gap
    maps = [one for sample in samples for one in (sample.truth, sample.predicted) if one is not None]
    entries, more = legend_entries(maps, labels)
    legend_rows, per_row = _legend_shape(entries, width - 2 * margin)
    height = 64 + sum(size[0] + head + gap for size in sizes) + 24 + 34 * (legend_rows + 1 + (more > 0)) + margin
    canvas = Canvas(width, height)
    for column, title in enumerate(titles):
        canvas.text(margin + column * (PANEL_WIDTH + gap), 36, title, size=26, bold=True)
    top = 64
    for sample, size in zip(samples, sizes, strict=True):
        score = _score(sample)
        room = width - 2 * margin - typeface(22).getlength(score)
        name = shortened(sample.name, room, typeface(22))
        canvas.text(margin, top + head / 2 - 2, name + score, size=22, colour=QUIET)
        for column, title in enumerate(titles):
            left = margin + column * (PANEL_WIDTH + gap)
            picture = _panel_picture(sample, title, labels, size)
            if picture is None:
                canvas.text(left, top + head + size[0] / 2, "no truth", size=18, colour=QUIET)
                continue
            canvas.image.paste(picture, (left, top + head))
            canvas.draw.rectangle((left, top + head, left + size[1] - 1, top + head + size[0] - 1), outline=RULE)
        top += size[0] + head + gap
    top += 24
    for index, label in enumerate(entries):
        left = margin + index % per_row * (width - 2 * margin) // per_row
        middle = top + 17 + index // per_row * 34
        canvas.swatch(left, middle, labels.palette[label], 22)
        room = (width - 2 * margin) / per_row - 50
        canvas.text(left + 32, middle, labels.classes[label], size=22, width=room)
    top += 34 * legend_rows
    if more:
        canvas.text(margin, top + 17, f"and {more} more classes", size=22, colour=QUIET)
        top += 34
    if with_truth:
        _error_key(canvas, margin, top + 17)
    canvas.save(path)


def _score(sample: Panel) -> str:
    if sample.truth is None:
        return ""
    counted = sample.truth != IGNORE
    if not counted.any():
        return " \u00b7 nothing counted"
    return f" \u00b7 {100 * float(np.mean(sample.truth[counted] == sample.predicted[counted])):.1f} % right"


def _panel_picture(sample: Panel, title: str, labels: Labels, size: tuple[int, int]) -> Image.Image | None:
    image, predicted = thinned(sample.image, size), thinned(sample.predicted, size)
    if title == "image":
        return resized(image, size)
    if title == "prediction":
        return with_hatching(labels.colours(predicted), predicted == IGNORE, size)
    if sample.truth is None:
        return None
    truth = thinned(sample.truth, size)
    picture = labels.colours(truth) if title == "truth" else errors(image, truth, predicted)
    return with_hatching(picture, truth == IGNORE, size)


def with_hatching(picture: np.ndarray, unknown: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """A picture at its size in the report, hatched where the classes are unknown: black would be taken for a class."""
    there = resized(picture, size, smooth=False)
    hatched = Image.fromarray(unknown.astype(np.uint8) * 255).resize(there.size, Image.Resampling.NEAREST)
    there.paste(Image.fromarray(hatching(*size)), mask=hatched)
    return there


def legend_entries(maps: Sequence[np.ndarray], labels: Labels) -> tuple[list[int], int]:
    """Classes to name, in their order, and how many that occur had to be left out. maps: (H, W) classes."""
    counts = np.zeros(256, dtype=np.int64)
    for classes in maps:
        counts += np.bincount(classes.reshape(-1), minlength=256)
    if labels.num_classes <= 24:
        return list(range(labels.num_classes)), 0
    occurring = [label for label in range(labels.num_classes) if counts[label]]
    kept = sorted(occurring, key=lambda label: -counts[label])[:LEGEND_MOST]
    return sorted(kept), len(occurring) - len(kept)


def _legend_shape(entries: Sequence[int], width: int) -> tuple[int, int]:
    per_row = max(1, width // 290)
    return math.ceil(len(entries) / per_row), per_row


def _error_key(canvas: Canvas, left: int, middle: float) -> None:
    canvas.text(left, middle, "error:", size=22, colour=QUIET)
    left += 96
    for name, fill in (("right", (205, 205, 205)), ("wrong", MISS), ("ignored", None)):
        if fill is None:
            canvas.image.paste(Image.fromarray(hatching(22, 22)), (left, round(middle - 11)))
        else:
            canvas.swatch(left, middle, fill, 22)
        canvas.text(left + 32, middle, name, size=22)
        left += 150
