"""Predictions one after the other, and what changed from each to the next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from segue.explain.sheet import Cell, class_map
from segue.explain.subject import Point, Subject
from segue.labels import IGNORE, Colour
from segue.pictures import MISS, errors

CHANGED, MENDED = (0, 114, 178), (0, 158, 115)
"""Blue and green of Okabe and Ito, for pixels whose class changed; those that became wrong are coloured as errors."""


def classes_of(scores: Tensor) -> np.ndarray:
    """(1, K, h, w) scores -> (h, w) uint8."""
    return scores[0].argmax(dim=0).to(torch.uint8).cpu().numpy()


def opening(subject: Subject, now: np.ndarray, title: str = "prediction", points: Sequence[Point] = ()) -> list[Cell]:
    """A sheet's first row: the picture, a prediction (h, w) of its size, and the label if it is known."""
    cells = [
        Cell(subject.pixels, "picture", smooth=True, marks=subject.marks(points)),
        class_map(now, subject.labels, title),
    ]
    return cells if subject.target is None else [*cells, class_map(subject.target, subject.labels, "label")]


def changed(subject: Subject, before: np.ndarray, after: np.ndarray, title: str) -> Cell:
    """Where two predictions (h, w) of the picture's size differ, on the picture in pale grey; see `change_legend`."""
    differ = before != after
    picture = errors(subject.pixels, after, after)
    picture[differ] = CHANGED
    note = f"{100 * differ.mean():.1f} % of the pixels"
    if subject.target is not None:
        mended = differ & (after == subject.target)
        spoiled = differ & (before == subject.target)
        picture[mended], picture[spoiled] = MENDED, MISS
        note = (
            f"{100 * differ.mean():.1f} %: {100 * mended.mean():.1f} % to right, {100 * spoiled.mean():.1f} % to wrong"
        )
    return Cell(picture, title, note)


def change_legend(subject: Subject, *, errors_too: bool = False) -> tuple[tuple[str, Colour], ...]:
    """The colours of `changed` for a sheet's legend. errors_too: the sheet has error maps as well."""
    if subject.target is None:
        return (("changed", CHANGED),)
    wrong = "wrong, or changed to wrong" if errors_too else "changed to wrong"
    return (("changed to right", MENDED), (wrong, MISS), ("changed, wrong before and after", CHANGED))


def step_rows(subject: Subject, found: Sequence[np.ndarray]) -> list[list[Cell]]:
    """A row for each prediction (h, w): its classes, what it changed, and where it is wrong if that is known."""
    rows = []
    for index, now in enumerate(found):
        cells = [class_map(now, subject.labels, "prediction")]
        if index == 0:
            cells.append(Cell(subject.pixels, "picture", smooth=True))
        else:
            cells.append(changed(subject, found[index - 1], now, "changed by it"))
        if subject.target is not None:
            counted = subject.target != IGNORE
            right = float((now == subject.target)[counted].mean()) if counted.any() else float("nan")
            wrong = errors(subject.pixels, subject.target, now)
            cells.append(Cell(wrong, "error", f"{100 * right:.1f} % right", unknown=~counted))
        rows.append(cells)
    return rows
