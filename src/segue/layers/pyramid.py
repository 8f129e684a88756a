"""The feature pyramid of UPerNet (Xiao et al., ECCV 2018, arXiv:1807.10221)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segue.layers.convolution import ConvBNReLU
from segue.layers.ppm import PPM
from segue.layers.resize import resize


class FusedPyramid(nn.Module):
    """Pyramid pooling on the coarsest map, its result passed down to the finer ones, and all of them fused.

    Maps (B, in_channels[i], H_i, W_i), finest first -> (B, channels, H_0, W_0). align_corners: of every enlargement.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        bins: Sequence[int] = (1, 2, 3, 6),
        *,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        *finer, coarsest = in_channels
        self.ppm = PPM(coarsest, channels, bins, align_corners=align_corners)
        self.lateral = nn.ModuleList([ConvBNReLU(width, channels, 1) for width in finer])
        self.smooth = nn.ModuleList([ConvBNReLU(channels, channels, 3) for _ in finer])
        self.fuse = ConvBNReLU(len(in_channels) * channels, channels, 3)
        self.align_corners = align_corners

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        above = self.ppm(features[-1])
        maps = [above]
        for index in reversed(range(len(self.lateral))):
            lateral = self.lateral[index](features[index])
            above = lateral + resize(above, like=lateral, align_corners=self.align_corners)
            maps.insert(0, self.smooth[index](above))
        enlarged = [resize(one, like=maps[0], align_corners=self.align_corners) for one in maps]
        fused: Tensor = self.fuse(torch.cat(enlarged, dim=1))
        return fused
