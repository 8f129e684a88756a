"""Tables of cells that are text already: a heading, and a line for each thing, named in its first cell."""

from __future__ import annotations

from collections.abc import Sequence

from segue.labels import Colour
from segue.report.tables import swatch_html
from segue.report.text import escaped

Cells = Sequence[Sequence[str]]


def text_lines(cells: Cells) -> str:
    """As a table for terminals."""
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = []
    for line in cells:
        numbers = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        lines.append("   ".join([line[0].ljust(widths[0]), *numbers]).rstrip())
    return "\n".join(lines)


def markdown_lines(cells: Cells) -> str:
    """As a table in Markdown."""
    rule = ["---", *("---:" for _ in cells[0][1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in (cells[0], rule, *cells[1:])) + "\n"


def html_lines(cells: Cells, colours: Sequence[Colour] = ()) -> str:
    """As a table in HTML. colours: of a swatch before the name of each line, where there are any."""
    head = "".join(f'<th scope="col">{escaped(cell)}</th>' for cell in cells[0])
    lines = []
    for index, (name, *rest) in enumerate(cells[1:]):
        swatch = swatch_html(colours[index]) if colours else ""
        numbers = "".join(f"<td>{escaped(cell)}</td>" for cell in rest)
        lines.append(f'<tr><th scope="row">{swatch}{escaped(name)}</th>{numbers}</tr>')
    body = "\n".join(lines)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'
