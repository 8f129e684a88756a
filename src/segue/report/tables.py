"""A row per class, as text, Markdown and HTML."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence

from segue.report.measures import MEASURES, as_number, in_percent
from segue.report.text import escaped, one_line

COLUMNS = {"iou": "IoU", "accuracy": "accuracy", "dice": "Dice", "boundary_iou": "Boundary IoU", "ece": "calib. error"}
"""Measures of a class -> their headings; those that no row has are left out."""

MEANS = {"iou": "miou", "accuracy": "mean_accuracy", "dice": "dice", "boundary_iou": "boundary_iou"}
"""Measures of a class -> the key of their mean in a summary."""

WHOLE = ("pixel_accuracy", "fwiou", "boundary_f", "segnet_boundary_f", "ece", "v_rand", "v_info")
NAME_MOST = 32  # characters of a class's name in a text table


def text_table(class_rows: Sequence[Mapping[str, object]], summary: Mapping[str, object] | None = None) -> str:
    """A table for terminals: a row per class, the means, and the measures of the whole.

    class_rows: `class`, the keys of `COLUMNS` (0..1, NaN where undefined) and `pixels`. summary: measures by the
    keys of `MEASURES`. Measures are shown in per cent.
    """
    columns = _columns(class_rows)
    rows = [_cells(row, columns) for row in class_rows]
    body = [[_clipped(row[0]), *row[1:]] for row in rows]
    means = _mean_cells(class_rows, summary)
    head = ["class", *columns.values(), "pixels"]
    widths = [max(_columns_wide(line[index]) for line in (head, *body, means)) for index in range(len(head))]
    rule = "─" * (sum(widths) + 3 * (len(widths) - 1))

    def line(cells: Sequence[str]) -> str:
        name = cells[0] + " " * (widths[0] - _columns_wide(cells[0]))
        return "   ".join((name, *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))))

    lines = [line(head), rule, *(line(cells) for cells in body), rule, line(means)]
    lines += _whole(summary)
    return "\n".join(part.rstrip() for part in lines) + "\n"


def markdown_table(class_rows: Sequence[Mapping[str, object]], summary: Mapping[str, object] | None = None) -> str:
    """The table of `text_table` in Markdown."""
    columns = _columns(class_rows)
    head = ["class", *columns.values(), "pixels"]
    means = [f"**{cell}**" if cell else "" for cell in _mean_cells(class_rows, summary)]
    lines = [head, ["---", *("---:" for _ in head[1:])]]
    lines += [[_escape_markdown(cells[0]), *cells[1:]] for cells in (_cells(row, columns) for row in class_rows)]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in (*lines, means)) + "\n"
    whole = _whole(summary)
    return text + ("\n" + whole[0] + "\n" if whole else "")


def html_table(class_rows: Sequence[Mapping[str, object]], summary: Mapping[str, object] | None = None) -> str:
    """The table of `text_table` as an HTML `<table>`, whose columns `write_report`'s page can sort.

    A row may hold `colour`, (red, green, blue), for a swatch beside the name.
    """
    columns = _columns(class_rows)
    keys = [*columns, "pixels"]
    head = "".join(
        f'<th scope="col" aria-sort="none"><button type="button">{title}</button></th>'
        for title in ("class", *columns.values(), "pixels")
    )
    lines = []
    for index, row in enumerate(class_rows):
        name, *cells = _cells(row, columns)
        numbers = [as_number(row.get(key)) for key in keys]
        swatch = swatch_html(row.get("colour"))
        fields = [f'<th scope="row" data-value="{index}">{swatch}{escaped(name)}</th>']
        for key, cell, number in zip(keys, cells, numbers, strict=True):
            value = "" if math.isnan(number) else f"{number:.6g}"
            bar = f' class="bar" style="--share:{100 * number:.1f}%"' if key == "iou" and value else ""
            fields.append(f'<td data-value="{value}"{bar}>{cell}</td>')
        lines.append(f"<tr>{''.join(fields)}</tr>")
    name, *means = _mean_cells(class_rows, summary)
    foot = f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in means)}</tr>'
    body = "\n".join(lines)
    return (
        f'<table class="classes sortable">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n<tfoot>{foot}</tfoot>\n</table>"
    )


def _columns(class_rows: Sequence[Mapping[str, object]]) -> dict[str, str]:
    known = {key for row in class_rows for key in row} | {"iou", "accuracy", "dice"}
    return {key: title for key, title in COLUMNS.items() if key in known}


def _cells(row: Mapping[str, object], columns: Mapping[str, str]) -> list[str]:
    name = one_line(str(row.get("class", "")))
    pixels = as_number(row.get("pixels"))
    measures = (in_percent(as_number(row.get(key))) for key in columns)
    return [name, *measures, "" if math.isnan(pixels) else f"{pixels:,.0f}"]


def _mean_cells(class_rows: Sequence[Mapping[str, object]], summary: Mapping[str, object] | None) -> list[str]:
    """The means over classes: those of the summary, or else of the rows, without the undefined."""
    cells = ["mean"]
    for key in _columns(class_rows):
        mean = as_number((summary or {}).get(MEANS.get(key, "")))
        if math.isnan(mean):
            known = [number for row in class_rows if not math.isnan(number := as_number(row.get(key)))]
            mean = sum(known) / len(known) if known else math.nan
        cells.append(in_percent(mean))
    return [*cells, ""]


def _whole(summary: Mapping[str, object] | None) -> list[str]:
    """The measures that are no means over classes, as one line of text."""
    known = [(MEASURES[key], as_number((summary or {}).get(key))) for key in WHOLE]
    parts = [f"{name} {in_percent(value)}" for name, value in known if not math.isnan(value)]
    return ["   ".join(parts)] if parts else []


def _columns_wide(text: str) -> int:
    """How many columns of a terminal a text takes: East Asian characters take two."""
    return sum(
        2 if unicodedata.east_asian_width(one) in "WF" else 0 if unicodedata.combining(one) else 1 for one in text
    )


def _clipped(name: str) -> str:
    return name if len(name) <= NAME_MOST else name[: NAME_MOST - 1].rstrip() + "…"


def _escape_markdown(text: str) -> str:
    return "".join(f"\\{one}" if one in "\\`*_[]<>|#~$&" else one for one in text)


def swatch_html(colour: object) -> str:
    """A small square of a colour, (red, green, blue); nothing for what is no colour."""
    if not isinstance(colour, Sequence) or len(colour) != 3:
        return ""
    red, green, blue = (int(channel) for channel in colour)
    return f'<i class="swatch" style="background:rgb({red},{green},{blue})"></i>'
