"""UPerNet: Unified Perceptual Parsing for Scene Understanding (Xiao et al., ECCV 2018, arXiv:1807.10221).

Its branch for objects, the one that segments; the paper's branches for scenes, parts, materials and textures need
labels of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from segue.backbones import Backbone, TimmOptions
from segue.layers import FCNHead, FusedPyramid
from segue.losses import cross_entropy
from segue.models.auxiliary import AuxiliaryNetwork
from segue.models.network import Criterion, Paper


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each position: (B, C, H, W) -> (B, C, H, W)."""

    def forward(self, features: Tensor) -> Tensor:
        last = features.permute(0, 2, 3, 1)
        return F.layer_norm(last, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


class UPerNet(AuxiliaryNetwork):
    """A ResNet at its own strides, a feature pyramid with pyramid pooling at its top, a classifier.

    pyramid_corners: align the corners where the pyramid enlarges maps. align_corners: where the scores are enlarged.
    norm: a ChannelNorm on each of the backbone's maps first, as segmentation_models.pytorch has it.
    auxiliary: weight of the loss of a small head on the third stage, 0 for none; 0.4 in mmsegmentation.
    auxiliary_channels: of that head; without it a quarter of the stage's.
    """

    paper: ClassVar[Paper] = Paper(
        "Unified Perceptual Parsing for Scene Understanding", "Xiao et al.", "ECCV", 2018, "1807.10221"
    )
    backbone_options = TimmOptions("resnet50")  # at stride 32

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        channels: int = 512,
        bins: Sequence[int] = (1, 2, 3, 6),
        pyramid_corners: bool = False,
        norm: bool = False,
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
        self.levels = sum(stride >= 4 for stride in backbone.strides)  # an encoder's map at stride 2 is left out
        widths = backbone.channels[-self.levels :]
        self.norm = nn.ModuleList(ChannelNorm(width, eps=1e-6) if norm else nn.Identity() for width in widths)
        self.pyramid = FusedPyramid(widths, channels, bins, align_corners=pyramid_corners)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(channels, num_classes, 1)
        self.auxiliary_weight = auxiliary
        self.auxiliary = FCNHead(backbone.channels[-2], num_classes, auxiliary_channels) if auxiliary > 0 else None
        self.align_corners = align_corners
        self.criterion = criterion

    def decode(self, features: list[Tensor]) -> Tensor:
        """The pyramid's finest map, classified: (B, K, H / 4, W / 4)."""
        maps = [norm(one) for norm, one in zip(self.norm, features[-self.levels :], strict=True)]
        scores: Tensor = self.classify(self.dropout(self.pyramid(maps)))
        return scores
