"""How the cells of a coarse score map lie over the pixels of its picture: two readings, both in use for DeepLab.

A reading settles two things that have to agree, or a network learns to be shifted: how scores are enlarged to the
picture's size, and which pixel's label each cell is trained with.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from segue.labels import IGNORE
from segue.layers.resize import resize


class Alignment(ABC):
    """One reading."""

    @abstractmethod
    def enlarge(self, scores: Tensor, like: Tensor, stride: int) -> Tensor:
        """(B, K, h, w) -> (B, K, H, W), the size of `like`; `stride`: of the score map."""

    @abstractmethod
    def labels(self, target: Tensor, scores: Tensor, stride: int) -> Tensor:
        """(B, H, W) int64 -> (B, h, w): each cell's label."""


class AlignedAreas(Alignment):
    """The map covers the picture's area, a cell one h-th of its height: PyTorch's align_corners=False.

    Labels are those of the pixels under the cells' centres. It works alike at every size, stride or not.
    """

    def enlarge(self, scores: Tensor, like: Tensor, stride: int) -> Tensor:
        return resize(scores, like=like)

    def labels(self, target: Tensor, scores: Tensor, stride: int) -> Tensor:
        rows, columns = (
            (2 * torch.arange(cells, device=target.device) + 1) * side // (2 * cells)
            for cells, side in zip(scores.shape[-2:], target.shape[-2:], strict=True)
        )
        return target.index_select(-2, rows).index_select(-1, columns)


class AlignedCorners(Alignment):
    """Cell i is centred on pixel i * stride: DeepLab's Caffe code, where it is exact for pictures of stride * k + 1.

    Scores are interpolated to (h - 1) * stride + 1 pixels with both ends kept, and cut to the picture (or, by a few
    pixels, drawn out to it). Labels are those of every stride-th pixel from 0; a cell past the border is IGNORE.
    """

    def enlarge(self, scores: Tensor, like: Tensor, stride: int) -> Tensor:
        height, width = like.shape[-2:]
        rows, columns = ((cells - 1) * stride + 1 for cells in scores.shape[-2:])
        maps = resize(scores, (rows, columns), align_corners=True)
        if rows < height or columns < width:
            maps = F.pad(maps, (0, max(0, width - columns), 0, max(0, height - rows)), mode="replicate")
        return maps[..., :height, :width]

    def labels(self, target: Tensor, scores: Tensor, stride: int) -> Tensor:
        height, width = target.shape[-2:]
        rows, columns = ((cells - 1) * stride + 1 for cells in scores.shape[-2:])
        target = F.pad(target, (0, max(0, columns - width), 0, max(0, rows - height)), value=IGNORE)
        return target[..., :rows:stride, :columns:stride]
