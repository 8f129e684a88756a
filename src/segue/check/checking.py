"""The whole check: looking, finding, and telling of it in a terminal, in tables and on a page."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segue import report
from segue.check import duplicates, files, masks
from segue.check.examination import PictureFacts
from segue.check.finding import Finding, by
from segue.check.page import write_page_of
from segue.check.survey import Survey, cores, survey
from segue.data import DATASETS
from segue.data.shards import is_shards, shards_folder
from segue.files import write_text
from segue.progress import ProgressLine, bar, duration

RULES: tuple[Callable[[Survey], Iterator[Finding]], ...] = (
    files.not_understood,
    files.left_over,
    files.unreadable,
    files.unlike,
    files.other_sizes,
    masks.blurred,
    masks.two_whites,
    masks.unknown_values,
    masks.void,
    duplicates.copies,
    files.tags_apart,
    masks.classes,
    files.tiny,
)


@dataclass(frozen=True)
class Checked:
    """What a check came to. lines: for the terminal. page: the HTML file."""

    found: Survey
    findings: tuple[Finding, ...]
    lines: tuple[str, ...]
    page: Path

    @property
    def grave(self) -> int:
        """How many findings would make training go wrong."""
        return sum(one.grave for one in self.findings)


def check(
    name: str,
    root: str = "",
    *,
    out: str = "",
    workers: int = 0,
    values: Mapping[int, int] | None = None,
    classes: Sequence[str] = (),
) -> Checked:
    """Look through a data set by name, or own data, and write what was found to `out`, or checks/NAME.

    workers: processes that look; 0 for one per processor. values, classes: what a recipe says in [data.map] and
    data.classes. Raises DataError when there is nothing to look at.
    """
    line = ProgressLine(every_in_file=10.0)
    clock = _Clock(line)
    found = survey(name, root, workers or cores(), clock.tell, values or {}, classes)
    line.finish()
    findings = tuple(sorted((one for rule in RULES for one in rule(found)), key=lambda one: not one.grave))
    folder = Path(out) if out else Path("checks") / _plain(name)
    write_text(folder / "findings.csv", _csv(("grave", "kind", "file", "what"), _rows(findings)))
    if found.labels is not None:
        write_text(folder / "classes.csv", _csv(class_head(found), class_rows(found)))
        report.labels_picture(found.labels, _shares(found), folder / "classes.png")
    page = write_page_of(found, findings, folder, [class_head(found), *class_rows(found)])
    return Checked(found, findings, (*_lines(found), *_said(findings)), page)


def _plain(name: str) -> str:
    if name in DATASETS:
        return name
    return shards_folder(name) if is_shards(name) else Path(name).expanduser().resolve().stem


class _Clock:
    """Shows how far the looking has come, and when it will be done."""

    def __init__(self, line: ProgressLine) -> None:
        self.line, self.start = line, time.monotonic()

    def tell(self, done: int, count: int) -> None:
        seconds = time.monotonic() - self.start
        left = duration(seconds / done * (count - done))
        self.line.show(
            f"{bar(done, count)} {done:,}/{count:,}  {done / max(seconds, 1e-9):.0f} pictures/s  {left} left"
        )


# Tables


def class_head(found: Survey) -> list[str]:
    """Titles of `class_rows`."""
    return ["class", "name", *(f"{split.name}: share of pixels" for split in found.splits), "train: pictures"]


def class_rows(found: Survey) -> list[list[str]]:
    """A row for each class: number, name, share of each split's counted pixels, and training pictures that hold it."""
    if found.labels is None:
        return []
    none = np.zeros((0, found.labels.num_classes + 1), dtype=np.int64)
    sums = [(split.labelled if len(split.labelled) else none).sum(axis=0) for split in found.splits]
    training = found.split("train")
    held = (training.labelled > 0).sum(axis=0) if training is not None and len(training.labelled) else None
    rows = []
    for index, name in enumerate(found.labels.classes):
        shares = [f"{sum_[index] / sum_[:-1].sum():.4%}" if sum_[:-1].any() else "" for sum_ in sums]
        rows.append([str(index), name, *shares, "" if held is None else f"{held[index]:,}"])
    ignored = [f"{sum_[-1] / sum_.sum():.4%} of all" if sum_.any() else "" for sum_ in sums]
    return [*rows, ["", "ignored", *ignored, "" if held is None else f"{held[-1]:,}"]]


def _shares(found: Survey) -> np.ndarray:
    """(K,) of all splits together."""
    assert found.labels is not None
    total = np.zeros(found.labels.num_classes, dtype=np.int64)
    for split in found.splits:
        if len(split.labelled):
            total += split.labelled[:, :-1].sum(axis=0)
    return total / max(int(total.sum()), 1)


def _csv(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    return text.getvalue()


def _rows(findings: Sequence[Finding]) -> list[list[str]]:
    """A row for each file, or for the finding where it is about none."""
    return [
        ["yes" if one.grave else "no", one.kind, file, what or one.sentence]
        for one in findings
        for file, what in one.files or (("", ""),)
    ]


# For the terminal


def _lines(found: Survey) -> Iterator[str]:
    yield from (f"{found.name}: {one}" for one in found.lines)
    yield from _aligned([["split", "pictures", "sizes", "channels"], *_split_rows(found)])
    if found.labels is not None:
        yield ""
        yield from _aligned([class_head(found), *class_rows(found)])
    yield ""


def _split_rows(found: Survey) -> Iterator[list[str]]:
    for split in found.splits:
        pictures = [one.image for one in split.examined if isinstance(one.image, PictureFacts)]
        sizes = sorted({one.size for one in pictures}, key=lambda size: (size[0] * size[1], size))
        kinds = sorted({f"{one.channels} of {one.kind}" for one in pictures})
        shown = [by(size) for size in (sizes if len(sizes) < 4 else (sizes[0], sizes[-1]))]
        yield [
            split.name,
            f"{len(split.data):,}",
            ", ".join(shown) if len(sizes) < 4 else f"{shown[0]} to {shown[1]}",
            ", ".join(kinds),
        ]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as text: words to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numeric = [all(_is_number(row[place]) for row in rows[1:]) for place in range(len(widths))]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in rows
    ]


def _is_number(cell: str) -> bool:
    return not cell or (cell[0].isdigit() and "x" not in cell)


def _said(findings: Sequence[Finding]) -> Iterator[str]:
    for one in findings:
        yield f"{'wrong' if one.grave else 'doubt'}  {one.sentence}"
    grave, others = sum(one.grave for one in findings), sum(not one.grave for one in findings)
    if not findings:
        yield "Nothing is wrong."
    elif not grave:
        yield f"Training would go well; {others} {'thing is' if others == 1 else 'things are'} worth a look."
    else:
        more = f", {others} {'is' if others == 1 else 'are'} worth a look" if others else ""
        yield f"Training would go wrong: {grave} {'thing' if grave == 1 else 'things'} to mend{more}."
