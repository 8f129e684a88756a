"""Windows that slide over a picture, and what share each of them has in a pixel's result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from segue.options import BlendName, InferenceOptions
from segue.prediction.rows import Rows

SIGMA = 1 / 8
"""Standard deviation of the Gaussian in windows: a window's rim, four of them away, counts 3000 times less."""

TOGETHER = 1 << 20  # pixels of the windows that go through the network together, where nothing else is asked for


@dataclass(frozen=True)
class Windows:
    """The windows along one side of a picture.

    starts: the first pixel of each. length: pixels of each, the same for all.
    shares: (n, length) float32, above 0, which add up to one at each pixel of the picture.
    """

    starts: tuple[int, ...]
    length: int
    shares: Tensor


def windows_along(side: int, length: int, overlap: float, blend: BlendName) -> Windows:
    """Windows of `length` pixels (or the whole side, if that is shorter) that cover a side of a picture.

    Each starts `length` * (1 - overlap) pixels after the one before; the last ends with the picture.
    """
    length = min(length, side)
    stride = max(1, round(length * (1 - overlap)))
    starts = (*range(0, side - length, stride), side - length)
    weights = torch.ones(length, dtype=torch.float64)
    if blend == "gaussian":
        distance = torch.arange(length) - (length - 1) / 2
        weights = torch.exp(-0.5 * (distance / (SIGMA * length)).double() ** 2)
    total = torch.zeros(side, dtype=torch.float64)
    for start in starts:
        total[start : start + length] += weights
    shares = torch.stack([weights / total[start : start + length] for start in starts])
    return Windows(starts, length, shares.float())


def slide(predict: Callable[[Tensor], Tensor], source: Rows, options: InferenceOptions) -> Iterator[Tensor]:
    """The blended result of all windows, from top to bottom: (B, K, n, W) for some rows n at a time.

    predict: (N, C, h, w) -> (N, K, h, w). Memory holds one row of windows. A result is a view of it: use it before
    asking for the next.
    """
    size = options.window or (max(source.height, source.width),)
    down = windows_along(source.height, size[0], options.overlap, options.blend)
    across = windows_along(source.width, size[-1], options.overlap, options.blend)
    places = [(picture, column) for picture in range(source.count) for column in range(len(across.starts))]
    batch = options.batch or max(1, TOGETHER // (down.length * across.length))
    ends = (*down.starts[1:], source.height)
    band: Tensor | None = None  # what the row of windows looks at
    sums: Tensor | None = None  # what the windows so far say of it
    for top, end, share_down in zip(down.starts, ends, down.shares, strict=True):
        band = _read_on(source, band, top, down.length)
        for start in range(0, len(places), batch):
            group = places[start : start + batch]
            crops = [_columns(band[picture], across, column) for picture, column in group]
            results = predict(torch.stack(crops))
            if sums is None:
                sums = results.new_zeros(source.count, results.shape[1], down.length, source.width)
            for (picture, column), result in zip(group, results, strict=True):
                share = torch.outer(share_down, across.shares[column]).to(sums.device)
                _columns(sums[picture], across, column).addcmul_(result, share)
        assert sums is not None
        yield sums[:, :, : end - top]
        band = band[:, :, end - top :]
        _move_up(sums, end - top)


def _columns(rows: Tensor, across: Windows, column: int) -> Tensor:
    """(C, h, W) -> the view (C, h, w) of one window."""
    return rows[:, :, across.starts[column] : across.starts[column] + across.length]


def _read_on(source: Rows, kept: Tensor | None, top: int, length: int) -> Tensor:
    """The source's rows top..top+length-1, the first of which are kept from the windows above."""
    have = 0 if kept is None else kept.shape[2]
    fresh = source.read(top + have, top + length)
    return fresh if kept is None or not have else torch.cat([kept, fresh], dim=2)


def _move_up(sums: Tensor, rows: int) -> None:
    """Drop so many rows, class by class, and let zeros follow."""
    kept = sums.shape[2] - rows
    for plane in sums.flatten(0, 1):
        plane[:kept] = plane[rows:].clone()
        plane[kept:] = 0
