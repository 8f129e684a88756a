"""Pictures that are read by rows, so that memory holds a band of them and never the whole."""

from __future__ import annotations

from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from segue.prediction.resampling import Resampling


class Rows(Protocol):
    """Pictures of one size of which any rows can be read.

    count, height, width: how many pictures, and their size.
    """

    count: int
    height: int
    width: int

    def read(self, top: int, bottom: int) -> Tensor:
        """Rows top..bottom-1 as (B, C, bottom - top, W), uint8 or float in 0..255."""


class TensorRows:
    """The rows of pictures (B, C, H, W) that are in memory already."""

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self.count, _, self.height, self.width = images.shape

    def read(self, top: int, bottom: int) -> Tensor:
        return self.images[:, :, top:bottom]


class ScaledRows:
    """The rows of pictures at another size (bilinear, antialiased), made from those rows of theirs that they need."""

    def __init__(self, source: Rows, scale: float) -> None:
        self.source, self.count = source, source.count
        self.height, self.width = (max(1, round(side * scale)) for side in (source.height, source.width))
        self.vertical = Resampling(source.height, self.height)

    def read(self, top: int, bottom: int) -> Tensor:
        first, last = self.vertical.needed(top, bottom)
        return self.vertical.combine(widened(self.source.read(first, last).float(), self.width), first, top, bottom)


def widened(rows: Tensor, width: int) -> Tensor:
    """(B, C, H, W) -> (B, C, H, width), bilinearly, averaging where it shrinks."""
    if rows.shape[-1] == width:
        return rows
    return F.interpolate(rows, size=(rows.shape[-2], width), mode="bilinear", antialias=True)
