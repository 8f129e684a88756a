"""Masks that are drawn: polygons and run lengths, one upon the other as they are listed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Area:
    """Something that one value fills.

    value: the raw value. outlines: polygons (n, 2) of x and y in pixels, from the picture's upper left corner; what
    lies in any of them is filled. mask: (h, w) bool with its left and top, instead of outlines.
    """

    value: int
    outlines: tuple[np.ndarray, ...] = ()
    mask: tuple[np.ndarray, int, int] | None = None


def draw(size: tuple[int, int], areas: Iterable[Area], background: int = 0) -> np.ndarray:
    """Areas on a background, later ones on top -> raw values (height, width), uint8 or, where they need it, uint16."""
    areas = list(areas)
    highest = max((one.value for one in areas), default=background)
    raw = np.full(size, background, dtype=np.uint8 if max(highest, background) < 256 else np.uint16)
    for one in areas:
        pieces = [filled(outline, size) for outline in one.outlines]
        for inside, left, top in pieces if one.mask is None else [one.mask]:
            # What reaches over the picture's edge is cut off.
            first, start = max(top, 0), max(left, 0)
            there = raw[first : top + inside.shape[0], start : left + inside.shape[1]]
            there[inside[first - top :, start - left :][: there.shape[0], : there.shape[1]]] = one.value
    return raw


def filled(outline: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, int, int]:
    """The pixels of a picture (height, width) whose centres lie in a polygon (n, 2): (h, w) bool, their left and top.

    Where a polygon overlaps itself, it is outside again (the even-odd rule).
    """
    height, width = size
    x, y = np.asarray(outline, dtype=np.float64).T
    x_next, y_next = np.roll(x, -1), np.roll(y, -1)
    # The rows whose centres an edge passes, and where it does: from there on, the other side begins.
    start, end = (
        np.clip(np.ceil(edge(y, y_next) - 0.5), 0, height).astype(np.int64) for edge in (np.minimum, np.maximum)
    )
    if not (end - start).any():
        return np.zeros((0, 0), dtype=bool), 0, 0
    passes = end - start
    edge = np.repeat(np.arange(len(x)), passes)
    row = start[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(passes) - passes, passes)
    slope = (x_next[edge] - x[edge]) / (y_next[edge] - y[edge])
    column = np.clip(np.ceil(x[edge] + (row + 0.5 - y[edge]) * slope - 0.5), 0, width).astype(np.int64)
    top, left = int(row.min()), int(column.min())
    shape = int(row.max()) - top + 1, int(column.max()) - left + 1
    crossings = np.bincount((row - top) * shape[1] + column - left, minlength=shape[0] * shape[1])
    inside = np.bitwise_xor.accumulate((crossings & 1).astype(bool).reshape(shape), axis=1)
    return inside[:, :-1], left, top


def run_lengths(counts: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """COCO's uncompressed runs, column by column, outside first -> (height, width) bool.

    Raises ValueError when they do not add up to the picture's pixels.
    """
    lengths = np.asarray(counts, dtype=np.int64)
    if lengths.sum() != size[0] * size[1] or (lengths < 0).any():
        raise ValueError(f"run lengths add up to {lengths.sum()} pixels, where the picture has {size[0] * size[1]}")
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, lengths).reshape(size[1], size[0]).T


def unpacked_run_lengths(text: str) -> list[int]:
    """COCO's compressed runs as numbers. Raises ValueError for text that is none.

    As its `maskApi` packs them: five bits in a character, whose sixth says that more follow; and from the fourth number
    on, the difference to the one before the last.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"run lengths hold the character {character!r}")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:  # negative, in two's complement
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("run lengths end within a number")
    return counts
