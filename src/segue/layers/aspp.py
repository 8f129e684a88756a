"""Atrous spatial pyramid pooling as DeepLabv3 has it (Chen et al., arXiv:1706.05587, Sec. 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segue.layers.convolution import ConvBNReLU
from segue.layers.ppm import refuse_single_values


class ImagePooling(nn.Module):
    """Image-level features: global average, 1x1 convolution, BN, ReLU, spread over the map again (Sec. 3.3)."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.project = ConvBNReLU(in_channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        mean = features.mean(dim=(-2, -1), keepdim=True)
        refuse_single_values(self.project, mean)
        pooled: Tensor = self.project(mean)
        return pooled.expand(-1, -1, features.shape[-2], features.shape[-1])


class SeparableConvBNReLU(nn.Sequential):
    """A dilated depthwise 3x3 convolution, a 1x1 convolution, BatchNorm, ReLU: (B, C_in, H, W) -> (B, C_out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, in_channels, 3, padding=dilation, dilation=dilation, groups=in_channels, bias=False),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class ASPP(nn.Module):
    """A 1x1 convolution, 3x3 convolutions at several rates and image pooling, side by side, then projected.

    (B, C_in, H, W) -> (B, channels, H, W). `rates` are the dilations of the 3x3 branches. `pool_first` and
    `project_kernel` are mmsegmentation's order of concatenation and its 3x3 projection; the paper has the pooled
    branch last and a 1x1 projection. `separable` makes the 3x3 branches depthwise, an option of
    segmentation_models.pytorch.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        rates: Sequence[int],
        *,
        pool_first: bool = False,
        project_kernel: int = 1,
        separable: bool = False,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList([ConvBNReLU(in_channels, channels, 1)])
        for rate in rates:
            self.branches.append(
                SeparableConvBNReLU(in_channels, channels, rate)
                if separable
                else ConvBNReLU(in_channels, channels, 3, dilation=rate)
            )
        self.image_pooling = ImagePooling(in_channels, channels)
        self.project = ConvBNReLU((len(rates) + 2) * channels, channels, project_kernel)
        self.pool_first = pool_first

    def forward(self, features: Tensor) -> Tensor:
        maps = [branch(features) for branch in self.branches]
        pooled = self.image_pooling(features)
        maps = [pooled, *maps] if self.pool_first else [*maps, pooled]
        projected: Tensor = self.project(torch.cat(maps, dim=1))
        return projected
