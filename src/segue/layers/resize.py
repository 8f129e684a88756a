"""Enlarging and shrinking maps."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def resize(maps: Tensor, like: Tensor | tuple[int, int], *, align_corners: bool = False) -> Tensor:
    """(B, C, H, W) -> (B, C, H', W'), bilinearly; `like` is a map of the wanted size, or (H', W')."""
    size = like if isinstance(like, tuple) else (like.shape[-2], like.shape[-1])
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=align_corners)
