"""PSPNet: Pyramid Scene Parsing Network (Zhao et al., CVPR 2017, arXiv:1612.01105)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segue.backbones import Backbone, TimmOptions
from segue.layers import PPM, ConvBNReLU, FCNHead, resize
from segue.losses import cross_entropy
from segue.models.auxiliary import AuxiliaryNetwork
from segue.models.network import Criterion, Paper


class LightPPM(nn.Module):
    """The pyramid of segmentation_models.pytorch: a quarter of the channels per grid, a 1x1 fusion, the input last.

    (B, C, H, W) -> (B, channels, H, W). The grid of one cell has a bias instead of BatchNorm, so a batch of one picture
    can train; grids are enlarged with aligned corners.
    """

    def __init__(self, in_channels: int, channels: int, bins: Sequence[int] = (1, 2, 3, 6)) -> None:
        super().__init__()
        self.bins = tuple(bins)
        width = in_channels // len(self.bins)
        self.project = nn.ModuleList(
            nn.Sequential(nn.Conv2d(in_channels, width, 1), nn.ReLU(inplace=True))
            if side == 1
            else ConvBNReLU(in_channels, width, 1)
            for side in self.bins
        )
        self.fuse = ConvBNReLU(in_channels + len(self.bins) * width, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        maps = [
            resize(project(F.adaptive_avg_pool2d(features, side)), like=features, align_corners=True)
            for side, project in zip(self.bins, self.project, strict=True)
        ]
        fused: Tensor = self.fuse(torch.cat([*maps, features], dim=1))
        return fused


class PSPNet(AuxiliaryNetwork):
    """A dilated ResNet, pyramid pooling on its last map, a classifier (Sec. 3.2, Fig. 3).

    ppm: the pyramid, `channels` wide; the paper's with grids of `bins` x `bins` cells when not given.
    align_corners: of the grids' enlargement and the scores'.
    classifier_kernel: 1 in the paper; 3 in segmentation_models.pytorch.
    auxiliary: weight of the loss of a small head on the third stage (res4b22), 0 for none; 0.4 in the paper (Sec. 4).
    auxiliary_channels: of that head; without it a quarter of the stage's.
    """

    paper: ClassVar[Paper] = Paper("Pyramid Scene Parsing Network", "Zhao et al.", "CVPR", 2017, "1612.01105")
    backbone_options = TimmOptions("resnet50", output_stride=8)

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        ppm: nn.Module | None = None,
        *,
        channels: int = 512,
        bins: Sequence[int] = (1, 2, 3, 6),
        classifier_kernel: int = 1,
        dropout: float = 0.1,
        auxiliary: float = 0.4,
        auxiliary_channels: int | None = None,
        align_corners: bool = False,
        criterion: Criterion = cross_entropy,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_classes = num_classes
        self.in_channels = backbone.in_channels
        self.ppm = ppm or PPM(backbone.channels[-1], channels, bins, align_corners=align_corners)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(channels, num_classes, classifier_kernel, padding=classifier_kernel // 2)
        self.auxiliary_weight = auxiliary
        self.auxiliary = FCNHead(backbone.channels[-2], num_classes, auxiliary_channels) if auxiliary > 0 else None
        self.align_corners = align_corners
        self.criterion = criterion

    def decode(self, features: list[Tensor]) -> Tensor:
        """Pyramid pooling and classifier on the coarsest map: (B, K, H', W')."""
        scores: Tensor = self.classify(self.dropout(self.ppm(features[-1])))
        return scores
