"""FCN on a dilated ResNet: the fully convolutional baseline of the context networks.

Fully Convolutional Networks for Semantic Segmentation (Long et al., CVPR 2015, arXiv:1411.4038) scores each position of
the last feature map and enlarges the scores. On a ResNet with dilation instead of the last strides, without skips, it
is what torchvision and mmsegmentation call FCN, and what PSPNet, OCRNet and MCIBI add their context to.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from segue.backbones import Backbone, TimmOptions
from segue.layers import ConvBNReLU, FCNHead
from segue.losses import cross_entropy
from segue.models.auxiliary import AuxiliaryNetwork
from segue.models.network import Criterion, Paper


class ConvolutionHead(nn.Module):
    """mmsegmentation's FCNHead: a few convolutions with BN and ReLU, dropout of whole channels, 1x1 classifier.

    (B, C, H, W) -> (B, K, H, W). join: what came in is joined to their result, and one more convolution fuses both.
    dilation: of the first convolutions, not of the one that fuses.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        channels: int = 512,
        *,
        convolutions: int = 2,
        kernel: int = 3,
        dilation: int = 1,
        join: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        widths = [in_channels, *[channels] * convolutions]
        self.convolutions = nn.Sequential(
            *(ConvBNReLU(before, channels, kernel, dilation=dilation) for before in widths[:-1])
        )
        self.join = ConvBNReLU(in_channels + widths[-1], channels, kernel) if join else None
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(channels, num_classes, 1)

    def forward(self, features: Tensor) -> Tensor:
        maps = self.convolutions(features)
        if self.join is not None:
            maps = self.join(torch.cat([features, maps], dim=1))
        scores: Tensor = self.classify(self.dropout(maps))
        return scores


class FCNResNet(AuxiliaryNetwork):
    """A dilated ResNet and a head of one convolution on its last map.

    head: maps (B, C, H, W) to scores (B, K, H, W); torchvision's when not given.
    auxiliary: weight of the loss of the same head on the third stage, 0 for none; 0.5 in torchvision, 0.4 in
        mmsegmentation.
    auxiliary_channels: of that head; without it a quarter of the stage's.
    """

    paper: ClassVar[Paper] = Paper(
        "Fully Convolutional Networks for Semantic Segmentation", "Long et al.", "CVPR", 2015, "1411.4038"
    )
    backbone_options = TimmOptions("resnet50", output_stride=8)

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        head: nn.Module | None = None,
        *,
        auxiliary: float = 0.4,
        auxiliary_channels: int | None = None,
        align_corners: bool = False,
        criterion: Criterion = cross_entropy,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_classes = num_classes
        self.in_channels = backbone.in_channels
        self.head = head or FCNHead(backbone.channels[-1], num_classes)
        self.auxiliary_weight = auxiliary
        self.auxiliary = FCNHead(backbone.channels[-2], num_classes, auxiliary_channels) if auxiliary > 0 else None
        self.align_corners = align_corners
        self.criterion = criterion

    def decode(self, features: list[Tensor]) -> Tensor:
        """The head on the coarsest map: (B, K, H', W')."""
        scores: Tensor = self.head(features[-1])
        return scores
