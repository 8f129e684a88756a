"""The pyramid pooling module of PSPNet (Zhao et al., CVPR 2017, arXiv:1612.01105, Sec. 3.2, Fig. 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segue.layers.convolution import ConvBNReLU
from segue.layers.resize import resize


class PPM(nn.Module):
    """Means over grids of several sizes, projected, enlarged, joined with the input and fused.

    (B, C, H, W) -> (B, channels, H, W). bins: sides of the grids; each grid's cells pass a 1x1 convolution to
    `channels` with BN and ReLU. The paper divides C by the number of grids; `channels` is that where C is 2048.
    align_corners: of the enlargement of the grids.

    Raises ValueError in training where a grid of one cell meets a batch of one picture.
    """

    def __init__(
        self, in_channels: int, channels: int, bins: Sequence[int] = (1, 2, 3, 6), *, align_corners: bool = False
    ) -> None:
        super().__init__()
        self.bins = tuple(bins)
        self.align_corners = align_corners
        self.project = nn.ModuleList(ConvBNReLU(in_channels, channels, 1) for _ in self.bins)
        self.fuse = ConvBNReLU(in_channels + len(self.bins) * channels, channels, 3)

    def forward(self, features: Tensor) -> Tensor:
        maps = [features]
        for side, project in zip(self.bins, self.project, strict=True):
            pooled = F.adaptive_avg_pool2d(features, side)
            assert isinstance(project, ConvBNReLU)
            refuse_single_values(project, pooled)
            maps.append(resize(project(pooled), like=features, align_corners=self.align_corners))
        fused: Tensor = self.fuse(torch.cat(maps, dim=1))
        return fused


def refuse_single_values(block: nn.Sequential, pooled: Tensor) -> None:
    """Raise ValueError where BatchNorm in training would see one value per channel, which it cannot normalise.

    Under SyncBatchNorm the other processes' pictures count as well, so one picture each is fine.
    """
    norm = block[1]
    single = pooled.shape[0] * pooled.shape[-2] * pooled.shape[-1] == 1
    if norm.training and single and not isinstance(norm, nn.SyncBatchNorm):
        raise ValueError(
            "pooling leaves one value per channel, which BatchNorm cannot normalise in a batch of 1: "
            "train with 2 or more pictures at a time, or freeze BatchNorm"
        )
