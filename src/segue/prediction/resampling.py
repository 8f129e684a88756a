"""Resizing along rows when only some rows are at hand."""

from __future__ import annotations

import math
from bisect import bisect_right

import torch
from torch import Tensor


class Resampling:
    """Bilinear resizing of columns of `source` pixels to `size`, any rows of the result at a time.

    As `torch.nn.functional.interpolate` with `antialias=True` does it (pixel centres at halves, a triangle as wide as
    two pixels of the coarser side), but from the rows that are needed alone.
    """

    def __init__(self, source: int, size: int) -> None:
        self.source, self.size = source, size
        self.step = source / size  # source pixels per pixel of the result
        self.reach = max(self.step, 1.0)  # half the triangle's base, in source pixels
        self.taps = math.ceil(2 * self.reach) + 1  # source pixels that a triangle can touch

    def needed(self, top: int, bottom: int) -> tuple[int, int]:
        """The source rows first..last-1 that rows top..bottom-1 of the result are made of."""
        if self.source == self.size:
            return top, bottom
        return max(0, self._lowest(top)), min(self.source, self._lowest(bottom - 1) + self.taps)

    def ready(self, available: int) -> int:
        """How many rows of the result can be made of the first `available` source rows."""
        return bisect_right(range(self.size), available, key=lambda row: self.needed(row, row + 1)[1])

    def combine(self, rows: Tensor, first: int, top: int, bottom: int) -> Tensor:
        """Rows top..bottom-1 of the result, from `rows` (B, C, n, W): source rows from `first` on."""
        if self.source == self.size:
            return rows[:, :, top - first : bottom - first]
        centres = (torch.arange(top, bottom, dtype=torch.float64) + 0.5) * self.step
        lowest = torch.floor(centres - self.reach + 0.5).long()
        touched = lowest[:, None] + torch.arange(self.taps)  # (rows of the result, taps)
        weights = (1 - (touched + 0.5 - centres[:, None]).abs() / self.reach).clamp_min(0)
        weights[(touched < 0) | (touched >= self.source)] = 0
        weights = (weights / weights.sum(dim=1, keepdim=True)).to(rows)
        places = touched.clamp(first, first + rows.shape[2] - 1).sub_(first).to(rows.device)
        result = rows.new_zeros(*rows.shape[:2], bottom - top, rows.shape[3])
        for tap in range(self.taps):
            result.addcmul_(rows.index_select(2, places[:, tap]), weights[:, tap, None])
        return result

    def _lowest(self, row: int) -> int:
        return math.floor((row + 0.5) * self.step - self.reach + 0.5)
