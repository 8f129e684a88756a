"""The findings on one HTML page, with the pictures that show them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from segue.check.finding import Finding
from segue.check.survey import One, Survey
from segue.data import FileDataSet
from segue.errors import DataError
from segue.labels import IGNORE, Labels
from segue.pictures import MISS, fitted, resized, thinned, viewable
from segue.reading import read_image
from segue.report.page import facts, figure, section, write_page
from segue.report.text import escaped

EXAMPLES = 6  # pictures that a finding shows
LISTED = 200  # files that it lists
BOX = (180, 156)  # height and width of a picture, and of the mask beside it
GAP = 4


def write_page_of(
    found: Survey, findings: Sequence[Finding], folder: Path, class_table: Sequence[Sequence[str]]
) -> Path:
    """Write `folder`/report.html; class_table: titles, and a row for each class."""
    pictures = folder / "classes.png"
    grave = sum(one.grave for one in findings)
    summary = {
        "training would": "go wrong" if grave else "go well",
        "to mend": grave,
        "worth a look": len(findings) - grave,
        **{f"{split.name}: pictures": f"{len(split.data):,}" for split in found.splits},
        "taken to be": "; ".join(found.lines),
    }
    path = folder / "report.html"
    write_page(
        path,
        f"Check of {found.name}",
        [
            section("", facts(summary)),
            section("Findings", "\n".join(_shown(found, one) for one in findings) or "<p>Nothing is wrong.</p>"),
            section("Classes", _table(class_table) if len(class_table) > 1 else ""),
            section("Shares of pixels", figure("Shares of pixels", pictures) if found.labels is not None else ""),
        ],
    )
    return path


def _shown(found: Survey, one: Finding) -> str:
    mark = "<b>wrong</b>" if one.grave else "doubt"
    pictures = "".join(filter(None, (_example(found.labels, example) for example in one.examples[:EXAMPLES])))
    rows = [f"{escaped(file)} {escaped(what)}".strip() for file, what in one.files[:LISTED]]
    more = f"<br>and {len(one.files) - LISTED:,} more, in findings.csv" if len(one.files) > LISTED else ""
    listed = f"<details><summary>{len(one.files):,} in all</summary>{'<br>'.join(rows)}{more}</details>"
    return (
        f'<div class="found"><h3>{mark} · {escaped(one.kind)}</h3><p>{escaped(one.sentence)}</p>'
        f"{f'<ul>{pictures}</ul>' if pictures else ''}{listed if len(one.files) > 1 else ''}</div>"
    )


def _example(labels: Labels | None, one: One) -> str:
    """A picture and its mask side by side; "" when neither can be read."""
    halves = [half for half in (_picture(one), _mask(labels, one)) if half is not None]
    if not halves:
        return ""
    width = sum(half.width for half in halves) + GAP * (len(halves) - 1)
    both = Image.new("RGB", (width, max(half.height for half in halves)), (255, 255, 255))
    left = 0
    for half in halves:
        both.paste(half, (left, 0))
        left += half.width + GAP
    buffer = io.BytesIO()
    both.save(buffer, format="JPEG", quality=85, subsampling=0)
    address = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    name = f"{one.split.name}/{one.split.data.name(one.index)}"
    size = f'width="{both.width}" height="{both.height}"'
    return f'<li><img src="{address}" alt="{escaped(name)} and its mask" {size}>{escaped(name)}</li>'


def _picture(one: One) -> Image.Image | None:
    data = one.split.data
    try:
        # As the file has it: a data set would refuse a picture that is not like its first one.
        pixels = read_image(data.pairs[one.index].image) if isinstance(data, FileDataSet) else data.image(one.index)
    except DataError:
        return None
    pixels = viewable(pixels)
    size = fitted(pixels.shape[:2], BOX)
    return resized(thinned(pixels, size), size)


def _mask(labels: Labels | None, one: One) -> Image.Image | None:
    """The mask in its classes' colours; values that are no class in vermilion, all of them in grey without classes."""
    data = one.split.data
    try:
        if not isinstance(data, FileDataSet):
            colours = data.labels.colours(data.target(one.index))
        else:
            pair = data.pairs[one.index]
            raw = data.draw(pair) if data.draw is not None else data.read(pair.mask)
            colours = raw if raw.ndim == 3 else _coloured(raw, labels)
    except DataError:
        return None
    size = fitted(colours.shape[:2], BOX)
    return resized(thinned(colours, size), size, smooth=False)


def _coloured(raw: np.ndarray, labels: Labels | None) -> np.ndarray:
    if labels is None or labels.colour_key:
        highest = max(int(raw.max(initial=0)), 1)
        return (raw.astype(np.float32) * (255 / highest)).astype(np.uint8)[..., None].repeat(3, axis=2)
    table = np.full((1 << 16, 3), MISS, dtype=np.uint8)
    for value, label in labels.values.items():
        table[value] = (0, 0, 0) if label == IGNORE else labels.palette[label]
    return table[raw]


def _table(rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escaped(cell)}</th>' for cell in rows[0][1:])
    body = "".join(
        f'<tr><th scope="row">{escaped(row[1])}</th>{"".join(f"<td>{escaped(cell)}</td>" for cell in row[2:])}</tr>'
        for row in rows[1:]
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
