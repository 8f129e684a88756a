"""Everything about a run in one HTML file."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from PIL import Image

from segue.files import write_text
from segue.pictures import fitted
from segue.report.measures import MEASURES, as_number, in_percent
from segue.report.tables import html_table
from segue.report.text import escaped

WIDEST, TALLEST = 2600, 16_000  # pixels of an embedded picture
SHOWN = 0.6  # of a picture's pixels is its width on the page, so that it is sharp on fine screens
DRAWING_COLOURS = 1 << 14  # a drawing has fewer, being flat but for the edges of its letters; photographs have more
PERCENT_NAMES = frozenset(name.lower() for pair in MEASURES.items() for name in pair) | {"dice", "mean iou"}


def write_report(
    folder: Path,
    *,
    title: str,
    summary: Mapping[str, object],
    recipe: str,
    environment: Mapping[str, object],
    class_rows: Sequence[Mapping[str, object]],
    pictures: Sequence[tuple[str, Path]],
) -> Path:
    """Everything about a run in one HTML file, `folder`/report.html, which opens from disk without a network.

    summary: what to say first, by name; measures (floats in 0..1 under a name of `MEASURES`) are shown large and in per
    cent. recipe: TOML. environment: plain values, possibly nested. class_rows: as in `html_table`. pictures: captions
    and files, in order; a file that is not there is left out, so that an unfinished run has a report as well.
    """
    large = {key: value for key, value in summary.items() if is_measure(key, value)}
    small = {key: value for key, value in summary.items() if key not in large}
    figures = [(caption, path) for caption, path in pictures if path.is_file()]
    parts = [
        section("", tiles(large) + facts(small)),
        *(section(caption, figure(caption, path)) for caption, path in figures),
        section("Per class", f'<div class="wide">{html_table(class_rows, summary)}</div>' if class_rows else ""),
        section("Recipe", f"<pre>{escaped(recipe)}</pre>" if recipe else ""),
        section("Environment", facts(_flattened(environment))),
    ]
    path = folder / "report.html"
    write_page(path, title, parts)
    return path


def write_page(path: Path, title: str, sections: Sequence[str], further: str = "") -> None:
    """Write a page of sections; empty ones are left out.

    further: the name of a style and a script that the page has besides, `NAME.css` and `NAME.js`.
    """
    names = ("page", further) if further else ("page",)
    page = Template(_part("page.html")).substitute(
        title=escaped(title),
        style="".join(_part(f"{name}.css") for name in names),
        script="".join(_part(f"{name}.js") for name in names),
        body="\n".join(filter(None, sections)),
    )
    write_text(path, page)


def _part(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def is_measure(key: str, value: object) -> bool:
    """Whether a value of a summary is one of `MEASURES`, and defined."""
    return key.lower() in PERCENT_NAMES and not math.isnan(as_number(value))


def section(title: str, content: str) -> str:
    """A part of a page under a heading; nothing where there is no content."""
    if not content:
        return ""
    heading = f"<h2>{escaped(title)}</h2>\n" if title else ""
    return f"<section>\n{heading}{content}\n</section>"


def tiles(measures: Mapping[str, object]) -> str:
    """Measures between 0 and 1, large and in per cent."""
    parts = []
    for key, value in measures.items():
        name, number = escaped(MEASURES.get(key, key)), in_percent(as_number(value))
        parts.append(f"<div><dt>{name}</dt><dd>{number}<small> %</small></dd></div>")
    return f'<dl class="tiles">\n{"".join(parts)}\n</dl>' if parts else ""


def facts(values: Mapping[str, object]) -> str:
    """Names and values, small."""
    lines = [
        f"<div><dt>{escaped(str(key))}</dt><dd>{escaped(_plain(value))}</dd></div>" for key, value in values.items()
    ]
    return f'<dl class="facts">\n{"".join(lines)}\n</dl>' if lines else ""


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_plain(one) for one in value)
    return "–" if value is None else str(value)


def _flattened(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def figure(caption: str, path: Path) -> str:
    """A picture, embedded, that a click enlarges."""
    address, width, height = _embedded(path)
    text = escaped(caption)
    size = f'width="{width}" height="{height}" style="--width:{width * SHOWN:.0f}px"'
    return f'<figure class="wide"><img src="{address}" alt="{text}" {size}></figure>'


def _embedded(path: Path) -> tuple[str, int, int]:
    """A picture as a data URI, with its width and height: a drawing as palette PNG, photographs as JPEG."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    if image.width > WIDEST or image.height > TALLEST:
        height, width = fitted((image.height, image.width), (TALLEST, WIDEST))
        image = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    buffer = io.BytesIO()
    if image.getcolors(DRAWING_COLOURS) is not None:
        kind = "png"
        image.quantize(256, dither=Image.Dither.NONE).save(buffer, format="PNG")
    else:  # at full colour resolution: halved, the edges of coloured regions would smear
        kind = "jpeg"
        image.save(buffer, format="JPEG", quality=88, subsampling=0)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/{kind};base64,{data}", image.width, image.height
