"""What anomaly scores find: curves, a table, and maps of them beside the pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from PIL import Image

from segue.labels import IGNORE
from segue.pictures import fitted, resized, thinned
from segue.report.canvas import QUIET, RULE, Canvas
from segue.report.measures import as_number, in_percent
from segue.report.plotting import COLOURS, drawn, named, percentages, quieted

COLUMNS = {"auroc": "AUROC", "ap": "AP", "fpr95": "FPR95", "siou": "sIoU", "ppv": "PPV", "f1_star": "F1*"}
"""Keys of a score's row -> headings; between 0 and 1, shown in per cent."""

ALONE = {"mean_auroc": "AUROC", "mean_ap": "AP", "mean_fpr95": "FPR95"}
"""The same of the means of the measures of single pictures."""

BOUNDED = ("auroc", "ap", "fpr95")
"""Measures that come with what binning the scores may have changed, as KEY_low and KEY_high."""


@dataclass(frozen=True)
class ScoreMap:
    """A picture, what is anomalous in it, and its scores.

    image: (H, W, 3) uint8. target: (H, W) 0, 1 or `IGNORE`. ranks: name -> (H, W) float32, the share of the split's
    counted pixels that score lower.
    """

    name: str
    image: np.ndarray
    target: np.ndarray
    ranks: Mapping[str, np.ndarray]


def anomaly_table(rows: Sequence[Mapping[str, object]], columns: Mapping[str, str] = COLUMNS) -> list[list[str]]:
    """The heading and a line for each score, as cells of text, in per cent; columns that no score has are left out."""
    shown = [key for key in columns if any(not math.isnan(as_number(row.get(key))) for row in rows)]
    lines = [["score", *(columns[key] for key in shown)]]
    for row in rows:
        lines.append([str(row["score"]), *(_cell(row, key) for key in shown)])
    return lines


def _cell(row: Mapping[str, object], key: str) -> str:
    value = as_number(row.get(key))
    if key not in BOUNDED:
        return in_percent(value)
    far = max(as_number(row.get(f"{key}_high")) - value, value - as_number(row.get(f"{key}_low")))
    return in_percent(value) + (f" ± {100 * far:.2f}" if far >= 0.00005 else "")


def detection_picture(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], chance: float, path: Path) -> None:
    """ROC and precision over recall of each score. Writes a PNG.

    curves: name -> (n, 2) of (false-positive rate, recall), and (m, 2) of (recall, precision). chance: the anomalies'
    share of pixels, which is the precision of guessing.
    """
    lines = -(-len(curves) // LEGEND_COLUMNS)
    height = 4.6 + 0.25 * lines
    low = (0.6 + 0.25 * lines) / height
    with drawn(path, 11, height) as figure:
        roc, precision = (figure.add_axes((left, low, 0.4, 0.92 - low)) for left in (0.06, 0.55))
        quieted(roc, "recall over false alarms")
        named(roc, "share of the rest called anomalous, %", "share of anomalies found, %")
        quieted(precision, "precision over recall")
        named(precision, "share of anomalies found, %", "share of what is called anomalous that is, %")
        roc.plot([0, 1], [0, 1], "--", color=QUIET_LINE, linewidth=0.8)
        precision.plot([0, 1], [chance, chance], "--", color=QUIET_LINE, linewidth=0.8)
        for index, (name, (first, second)) in enumerate(curves.items()):
            colour, dash = COLOURS[index % len(COLOURS)], ("-", "--")[index // len(COLOURS) % 2]
            roc.plot(first[:, 0], first[:, 1], dash, color=colour, linewidth=1.4, label=name)
            precision.plot(second[:, 0], second[:, 1], dash, color=colour, linewidth=1.4)
        # The first few pixels, be they right or wrong, do not decide on the scale.
        highest = max(
            [chance, *(float(second[second[:, 0] > 0.02, 1].max(initial=0)) for _, second in curves.values())]
        )
        for axes, top in ((roc, 1.0), (precision, min(1.0, 1.2 * highest))):
            axes.set_xlim(0, 1)
            axes.set_ylim(0, 1.01 * top)
            percentages(axes.xaxis, axes.yaxis)
        handles, names = roc.get_legend_handles_labels()
        figure.legend(handles, names, loc="lower center", ncols=LEGEND_COLUMNS, fontsize=8, frameon=False)


LEGEND_COLUMNS = 5
QUIET_LINE = "#8a8e96"
WIDTH, HEIGHT = 300, 260  # the box that each picture is fitted into
ACROSS = 4  # more of them beside each other are too small to see on a page


def score_maps_picture(samples: Sequence[ScoreMap], path: Path) -> None:
    """Picture, anomalies and the rank of each score, `ACROSS` beside each other, for each sample. Writes a PNG.

    Ranks are drawn as -log10 of the share that scores higher: black for the lower nine tenths, white for the highest
    thousandth, so that one colour means as much in all pictures and for all scores.
    """
    titles = ["picture", "anomalies", *samples[0].ranks]
    across = min(ACROSS, len(titles))
    lines = -(-len(titles) // across)
    sizes = [fitted(sample.target.shape, (HEIGHT, WIDTH)) for sample in samples]
    margin, gap, name, title = 30, 12, 44, 30
    heights = [name + lines * (title + size[0] + gap) for size in sizes]
    canvas = Canvas(2 * margin + across * WIDTH + (across - 1) * gap, margin + sum(heights) + 60 + margin)
    top = margin
    for sample, size, height in zip(samples, sizes, heights, strict=True):
        canvas.text(margin, top + name / 2 - 4, sample.name, size=22, bold=True, width=canvas.image.width - 2 * margin)
        pictures = [resized(thinned(sample.image, size), size), _anomalies(sample.target, size)]
        pictures += [resized(_heat(thinned(rank, size)), size) for rank in sample.ranks.values()]
        for index, picture in enumerate(pictures):
            left = margin + index % across * (WIDTH + gap)
            upper = top + name + index // across * (title + size[0] + gap)
            canvas.text(left, upper + title / 2 - 2, titles[index], size=20, colour=QUIET, width=WIDTH)
            canvas.image.paste(picture, (left, upper + title))
            box = (left, upper + title, left + size[1] - 1, upper + title + size[0] - 1)
            canvas.draw.rectangle(box, outline=RULE)
        top += height
    _key(canvas, margin, top + 24)
    canvas.save(path)


def _heat(ranks: np.ndarray) -> np.ndarray:
    shares = np.clip(1 - ranks, 1e-3, 0.1)
    strength = (-np.log10(shares) - 1) / 2  # 0.1 -> 0, 0.001 -> 1
    return np.rint(255 * colormaps["inferno"](strength)[..., :3]).astype(np.uint8)


def _anomalies(target: np.ndarray, size: tuple[int, int]) -> Image.Image:
    small = thinned(target, size)
    picture = np.zeros((*small.shape, 3), dtype=np.uint8)
    picture[small == 1] = 255
    picture[small == IGNORE] = 128
    return resized(picture, size, smooth=False)


def _key(canvas: Canvas, left: int, middle: int) -> None:
    canvas.text(left, middle, "score among the highest", size=20, colour=QUIET)
    start = left + 270
    for step in range(240):
        rank = 1 - 10 ** (-1 - 2 * step / 239)
        colour = tuple(int(channel) for channel in _heat(np.array([[rank]]))[0, 0])
        canvas.draw.line((start + step, middle - 10, start + step, middle + 10), fill=colour)
    for place, text in ((0, "10 %"), (120, "1 %"), (240, "0.1 %")):
        canvas.text(start + place, middle + 24, text, size=16, colour=QUIET, anchor="mm")
    canvas.text(start + 300, middle, "anomalies white, ignored pixels grey", size=20, colour=QUIET)
