"""OCRNet: Object-Contextual Representations for Semantic Segmentation (Yuan et al., ECCV 2020, arXiv:1909.11065)."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from segue.backbones import Backbone, TimmOptions
from segue.layers import ConvBNReLU, FCNHead, ObjectContext, resize
from segue.losses import cross_entropy
from segue.models.network import Criterion, Network, Paper


class OCRNetOutput(NamedTuple):
    """What OCRNet computes."""

    logits: Tensor  # (B, K, H, W)
    regions: Tensor | None  # (B, K, H, W), the first segmentation; enlarged for the loss alone


class OCRNet(Network[OCRNetOutput]):
    """A dilated ResNet, a first segmentation into soft object regions, their context, a classifier (Sec. 3.2).

    channels: of the features; transform_channels: inside the attention.
    region_channels: of the first segmentation's head on the last but one stage; without it a quarter of the stage's.
    region_scale: on the first segmentation's scores, where regions are made of them.
    auxiliary: weight of the first segmentation's loss, 0.4 in the paper.
    """

    paper: ClassVar[Paper] = Paper(
        "Object-Contextual Representations for Semantic Segmentation", "Yuan et al.", "ECCV", 2020, "1909.11065"
    )
    backbone_options = TimmOptions("resnet50", output_stride=8)
    backbone: Backbone

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        channels: int = 512,
        transform_channels: int = 256,
        region_channels: int | None = None,
        region_scale: float = 1.0,
        dropout: float = 0.1,
        auxiliary: float = 0.4,
        align_corners: bool = False,
        criterion: Criterion = cross_entropy,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_classes = num_classes
        self.in_channels = backbone.in_channels
        self.regions = FCNHead(backbone.channels[-2], num_classes, region_channels)
        self.bottleneck = ConvBNReLU(backbone.channels[-1], channels, 3)
        self.context = ObjectContext(channels, transform_channels, scale=region_scale)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(channels, num_classes, 1)
        self.auxiliary_weight = auxiliary
        self.align_corners = align_corners
        self.criterion = criterion

    def scores(self, images: Tensor) -> OCRNetOutput:
        """What `forward` enlarges: the same maps at the stride of the features."""
        features = self.backbone(images)
        pixels = self.bottleneck(features[-1])
        # Both stages have one stride in the paper; at another output stride the regions follow the pixels.
        regions = resize(self.regions(features[-2]), like=pixels)
        return OCRNetOutput(self.classify(self.dropout(self.context(pixels, regions))), regions)

    def forward(self, images: Tensor) -> OCRNetOutput:
        logits, regions = self.scores(images)
        enlarged = None
        if regions is not None and (self.training or self.all_outputs):
            enlarged = resize(regions, like=images, align_corners=self.align_corners)
        return OCRNetOutput(resize(logits, like=images, align_corners=self.align_corners), enlarged)

    def loss(self, output: OCRNetOutput, target: Tensor) -> dict[str, Tensor]:
        """The criterion of both enlarged maps, the first segmentation's weighted."""
        terms = {"logits": self.criterion(output.logits, target)}
        if output.regions is not None:
            terms["regions"] = self.auxiliary_weight * self.criterion(output.regions, target)
        return terms
