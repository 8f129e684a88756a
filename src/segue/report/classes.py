"""What the classes are: colours, names, values and shares."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

from segue.labels import Labels
from segue.pictures import hatching
from segue.report.canvas import QUIET, Canvas, drawable, typeface


def labels_picture(labels: Labels, shares: np.ndarray | None, path: Path) -> None:
    """The classes: colour, number, name, raw values and, where known, share of the pixels. Writes a PNG.

    shares: (K,) between 0 and 1, or None.
    """
    count = labels.num_classes
    if shares is not None and shares.shape != (count,):
        raise ValueError(f"shares are {shares.shape}, but there are {count} classes")
    columns = 1 if count <= 20 else 2 if count <= 60 else 3
    per_column = math.ceil(count / columns)
    raws: dict[int, list[int]] = {}
    for raw, label in sorted(labels.values.items()):
        raws.setdefault(label, []).append(raw)
    name_font = typeface(22)
    longest = max(name_font.getlength(drawable(name)) for name in labels.classes)
    name_width = min(math.ceil(longest), 420 if columns == 1 else 300)
    value_width, share_width = 150, 0 if shares is None else 250
    offsets = (0, 38, 38 + 52 + 16, 38 + 68 + name_width + 24)  # swatch, class, name, values
    column_width = offsets[3] + value_width + share_width
    margin, head, line = 30, 70, 36
    width = max(2 * margin + columns * column_width + (columns - 1) * 40, 640)
    canvas = Canvas(width, head + per_column * line + 84)
    largest = 1.0 if shares is None else max(float(np.nanmax(shares, initial=0)), 1e-9)
    for column in range(columns):
        left = margin + column * (column_width + 40)
        for offset, title in zip(offsets[1:], ("class", "name", "raw value"), strict=True):
            anchor = "rm" if title == "class" else "lm"
            at = left + offset + (52 if title == "class" else 0)
            canvas.text(at, 40, title, size=18, colour=QUIET, anchor=anchor)
        if shares is not None:
            canvas.text(left + offsets[3] + value_width, 40, "share of pixels", size=18, colour=QUIET)
        for row, label in enumerate(range(column * per_column, min((column + 1) * per_column, count))):
            middle = head + row * line + line / 2
            canvas.swatch(left, middle, labels.palette[label], 26)
            canvas.text(left + offsets[1] + 52, middle, str(label), size=20, colour=QUIET, anchor="rm")
            canvas.text(left + offsets[2], middle, labels.classes[label], size=22, width=name_width)
            values = ", ".join(str(raw) for raw in raws.get(label, [])) or "none"
            canvas.text(left + offsets[3], middle, values, size=20, width=value_width - 16, colour=QUIET)
            if shares is not None:
                start = left + offsets[3] + value_width
                share = float(np.nan_to_num(shares[label]))
                bar = 140 * share / largest
                canvas.draw.rectangle((start, middle - 9, start + max(bar, 1), middle + 9), fill=(160, 190, 220))
                canvas.text(start + bar + 10, middle, _percent(share), size=18)
    foot = head + per_column * line + 36
    canvas.image.paste(Image.fromarray(hatching(26, 26)), (margin, foot - 13))
    values = ", ".join(str(raw) for raw in labels.ignored_values) or "none"
    canvas.text(margin + 38, foot, f"ignored: raw value {values}", size=20, width=width - 2 * margin - 40, colour=QUIET)
    canvas.save(path)


def _percent(share: float) -> str:
    """0.1234 -> 12.3 %; as many digits as a reader can use."""
    if math.isnan(share):
        return "–"
    percent = 100 * share
    if 0 < percent < 0.01:
        return "<0.01 %"
    return f"{percent:.2f} %" if percent < 1 else f"{percent:.1f} %"
