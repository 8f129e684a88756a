"""The page of an evaluation: classes, who is taken for whom, every picture with its errors, calibration and borders."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segue.labels import Labels
from segue.report.page import facts, figure, is_measure, section, tiles, write_page
from segue.report.tables import html_table
from segue.report.text import escaped

EVALUATION_PAGE = "evaluation.html"
PART = 50  # pictures in each part of the page's data: a browser reads a part when one of its pictures is looked at
NOTHING = 255  # of an IoU as a byte: the class does not occur
STEPS = 250  # of an IoU as a byte: 250 is 1


@dataclass(frozen=True)
class EvaluationPage:
    """What the page shows.

    title: what was evaluated on what. summary: measures by name. facts: further values by name.
    class_rows: as in `html_table`.
    table: (K, K) counts, true classes by predicted ones.
    pictures: the worst first; each has `name`, `miou`, `accuracy` and what `Thumbnail.to_dict` gives.
    class_ious: (N, K) IoU of each class in each of them, NaN where it does not occur.
    examples: cell of the table, read row by row -> numbers of the pictures that hold most of it.
    figures: captions and files of charts, and what is to be seen in them.
    """

    title: str
    summary: Mapping[str, object]
    facts: Mapping[str, object]
    labels: Labels
    class_rows: Sequence[Mapping[str, object]]
    table: np.ndarray
    pictures: Sequence[Mapping[str, object]]
    class_ious: np.ndarray
    examples: Mapping[int, Sequence[int]]
    figures: Sequence[tuple[str, Path, str]]


FURTHER = {"mce": "largest calibration gap", "nll": "negative log-likelihood", "brier": "Brier score"}
"""Measures that are not shown in per cent -> what they are called."""

CONFUSION = """<p class="hint">A row is what is true, a column what was predicted; the darker, the larger the share of
the row. Blue is right, orange wrong. Click a cell to see where it happens most.</p>
<div class="browser"><canvas id="matrix" tabindex="0" role="img" aria-label="confusion matrix"></canvas>
<div><p class="choice"><label>true <select id="true"></select></label>
<label>predicted <select id="guess"></select></label></p>
<p id="cell" aria-live="polite"></p><div id="examples" class="cards"></div></div></div>"""

PICTURES = """<p class="choice"><label>search <input id="search" type="search" placeholder="name of a picture"></label>
<label>class <select id="class"></select></label>
<label>order <select id="order"><option value="worst">worst first</option><option value="best">best first</option>
<option value="name">by name</option></select></label>
<label>show <select id="view"><option value="errors">errors</option><option value="photo">picture</option>
<option value="truth">truth</option><option value="prediction">prediction</option></select></label>
<output id="count"></output></p>
<p id="key" class="hint"></p>
<div id="cards" class="cards"></div><div id="end"></div>
<dialog id="large"><form method="dialog"><button aria-label="close">×</button></form><div></div></dialog>"""

FILTER = (
    '<p class="choice"><label>search <input id="class-search" type="search" placeholder="name of a class"></label></p>'
)


def write_evaluation_page(folder: Path, content: EvaluationPage) -> Path:
    """Write folder/evaluation.html: one file, which opens from disk without a network."""
    large = {key: value for key, value in content.summary.items() if is_measure(key, value)}
    small = {FURTHER.get(key, key): value for key, value in content.summary.items() if key not in large}
    table = f'<div class="wide">{html_table(content.class_rows, content.summary)}</div>'
    path = folder / EVALUATION_PAGE
    sections = [
        section("", tiles(large) + facts({**content.facts, **small})),
        section("Classes", FILTER + table),
        section("Who is taken for whom", CONFUSION),
        section("Pictures", PICTURES),
        *(
            section(caption, f'<p class="hint">{escaped(hint)}</p>{figure(caption, file)}')
            for caption, file, hint in content.figures
            if file.is_file()
        ),
        _data(content),
    ]
    write_page(path, content.title, sections, "evaluation")
    return path


def _data(content: EvaluationPage) -> str:
    """The page's data as elements that no browser reads before the script asks for them."""
    pictures = [dict(one) for one in content.pictures]
    index = {
        "classes": list(content.labels.classes),
        "palette": [list(colour) for colour in content.labels.palette],
        "table": content.table.tolist(),
        "names": [one["name"] for one in pictures],
        "miou": [one["miou"] for one in pictures],
        "accuracy": [one["accuracy"] for one in pictures],
        "ious": _as_bytes(content.class_ious),
        "examples": {str(cell): list(numbers) for cell, numbers in content.examples.items()},
        "part": PART,
    }
    drawings = [{key: one[key] for key in ("w", "h", "photo", "classes")} for one in pictures]
    parts = [_element("data", index)]
    parts += [
        _element(f"part-{start // PART}", drawings[start : start + PART]) for start in range(0, len(drawings), PART)
    ]
    return "\n".join(parts)


def _as_bytes(ious: np.ndarray) -> str:
    bytes_ = np.full(ious.shape, NOTHING, dtype=np.uint8)
    known = np.isfinite(ious)
    bytes_[known] = np.rint(ious[known] * STEPS)
    return base64.b64encode(bytes_.tobytes()).decode("ascii")


def _element(name: str, value: object) -> str:
    # A name may hold "</script>": written so, it does not end the element, and reads the same.
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'
