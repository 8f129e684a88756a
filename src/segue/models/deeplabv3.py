"""DeepLabv3: Rethinking Atrous Convolution for Semantic Image Segmentation (Chen et al., 2017, arXiv:1706.05587)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from segue.backbones import Backbone, TimmOptions
from segue.layers import ASPP, ConvBNReLU, FCNHead
from segue.losses import cross_entropy
from segue.models.auxiliary import AuxiliaryNetwork
from segue.models.network import Criterion, Paper


class DeepLabV3(AuxiliaryNetwork):
    """A dilated ResNet, ASPP on its last map, a classifier, and the scores enlarged to the image (Sec. 3.3, Fig. 5).

    rates: of ASPP's 3x3 branches; without them the paper's: 6, 12, 18 at output stride 16, doubled at 8.
    channels: of every ASPP branch.
    extra_convolution: a 3x3 convolution with BN and ReLU before the classifier: torchvision and
        segmentation_models.pytorch have it, the paper does not.
    pool_first, project_kernel: mmsegmentation's order of concatenation, and its 3x3 projection.
    separable: depthwise 3x3 branches, an option of segmentation_models.pytorch.
    auxiliary: weight of the loss of a small head on the third stage, 0 for none. The paper has none; torchvision
        trains with 0.5, mmsegmentation with 0.4.
    auxiliary_channels: of that head; without it a quarter of the stage's.
    align_corners: of the enlargement; True in segmentation_models.pytorch.
    """

    paper: ClassVar[Paper] = Paper(
        "Rethinking Atrous Convolution for Semantic Image Segmentation", "Chen et al.", "arXiv", 2017, "1706.05587"
    )
    backbone_options = TimmOptions("resnet101", output_stride=16, multi_grid=(1, 2, 4))

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        rates: Sequence[int] = (),
        channels: int = 256,
        dropout: float = 0.0,
        extra_convolution: bool = False,
        pool_first: bool = False,
        project_kernel: int = 1,
        separable: bool = False,
        auxiliary: float = 0.0,
        auxiliary_channels: int | None = None,
        align_corners: bool = False,
        criterion: Criterion = cross_entropy,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_classes = num_classes
        self.in_channels = backbone.in_channels
        self.aspp = ASPP(
            backbone.channels[-1],
            channels,
            rates or [rate * 16 // backbone.strides[-1] for rate in (6, 12, 18)],
            pool_first=pool_first,
            project_kernel=project_kernel,
            separable=separable,
        )
        self.extra = ConvBNReLU(channels, channels, 3) if extra_convolution else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Conv2d(channels, num_classes, 1)
        self.auxiliary_weight = auxiliary
        self.auxiliary = FCNHead(backbone.channels[-2], num_classes, auxiliary_channels) if auxiliary > 0 else None
        self.align_corners = align_corners
        self.criterion = criterion

    def decode(self, features: list[Tensor]) -> Tensor:
        """ASPP and classifier on the coarsest map: (B, K, H', W')."""
        pooled = self.dropout(self.aspp(features[-1]))  # torchvision drops here, before its further convolution
        scores: Tensor = self.classify(self.extra(pooled))
        return scores
