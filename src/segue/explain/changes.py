"""Predictions one after the other, and what changed from each to the next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from segue.explain.sheet import Cell, class_map
from segue.explain.subject import Subject
from segue.labels import IGNORE
from segue.pictures import errors

CHANGED = "changed"


def classes_of(scores: Tensor) -> np.ndarray:
    """(1, K, h, w) scores -> (h, w) uint8."""
    return scores[0].argmax(dim=0).to(torch.uint8).cpu().numpy()


def changed(subject: Subject, before: np.ndarray, after: np.ndarray, title: str) -> Cell:
    """Where two predictions (h, w) of the picture's size differ, in vermilion on the picture in pale grey."""
    return Cell(errors(subject.pixels, before, after), title, f"{100 * (before != after).mean():.1f} % of the pixels")


def step_rows(subject: Subject, found: Sequence[np.ndarray]) -> list[list[Cell]]:
    """A row for each prediction (h, w): its classes, what it changed, and where it is wrong if that is known."""
    rows = []
    for index, now in enumerate(found):
        cells = [class_map(now, subject.labels, "classes")]
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
