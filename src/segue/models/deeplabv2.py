"""DeepLabv2: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully Connected CRFs
(Chen et al., TPAMI 2018, arXiv:1606.00915). The CRF is a step after prediction (`segue.crf`); the fusion of several
scales is a network around this one (`segue.models.msc`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from segue.backbones import Backbone, BackboneOptions, TimmOptions
from segue.backbones.vgg import CHANNELS, classifier, fill_by_layer, scaled
from segue.layers import AlignedAreas, AlignedCorners, he_initialise
from segue.losses import cross_entropy
from segue.models.deeplabv1 import STRIDE, decimate, dilated_vgg16, start_classifier
from segue.models.network import Criterion, Network, Paper

RATES = (6, 12, 18, 24)
"""Of ASPP-L; ASPP-S's are (2, 4, 8, 12), LargeFOV's (12,)."""


class SummedASPP(nn.Module):
    """Atrous spatial pyramid pooling: 3x3 convolutions at several rates, straight to the classes, added up (Fig. 7b).

    [..., (B, C, h, w)] -> (B, K, h, w), of the last map. One rate of 12 makes the LargeFOV head.
    """

    def __init__(self, channels: int, num_classes: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(channels, num_classes, 3, padding=rate, dilation=rate) for rate in rates
        )
        for branch in self.branches:
            assert isinstance(branch, nn.Conv2d)
            start_classifier(branch)

    def forward(self, features: list[Tensor]) -> Tensor:
        return torch.stack([branch(features[-1]) for branch in self.branches]).sum(dim=0)


class SummedScores(nn.Module):
    """A 1x1 score layer for each of the backbone's maps, fc7 of several rates, added up: the head on VGG-16.

    [(B, C, h, w), ...] -> (B, K, h, w).
    """

    def __init__(self, channels: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(before, num_classes, 1) for before in channels)
        for branch in self.branches:
            assert isinstance(branch, nn.Conv2d)
            start_classifier(branch)

    def forward(self, features: list[Tensor]) -> Tensor:
        scores = [branch(maps) for branch, maps in zip(self.branches, features, strict=True)]
        return torch.stack(scores).sum(dim=0)


class FieldOfView(nn.Module):
    """fc6, dilated, and fc7, each with ReLU and dropout: (B, C, h, w) -> (B, F, h, w). One branch of ASPP on VGG-16."""

    def __init__(self, in_channels: int, channels: int, rate: int, dropout: float) -> None:
        super().__init__()
        self.fc6 = nn.Conv2d(in_channels, channels, 3, padding=rate, dilation=rate)
        self.fc7 = nn.Conv2d(channels, channels, 1)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)
        he_initialise(self)

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.dropout(self.relu(self.fc6(maps)))
        dropped: Tensor = self.dropout(self.relu(self.fc7(maps)))
        return dropped


class VGG16Fields(Backbone):
    """VGG-16 at stride 8 and the classifier's fc6 and fc7 at several rates (Sec. 3.2, Fig. 7b) -> a map per rate."""

    def __init__(
        self,
        *,
        in_channels: int = 3,
        channels: Sequence[int] = CHANNELS,
        fc_channels: int = 1024,
        rates: Sequence[int] = RATES,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.name = "vgg16"
        self.in_channels = in_channels
        self.channels = (fc_channels,) * len(rates)
        self.strides = (STRIDE,) * len(rates)
        self.body = dilated_vgg16(in_channels, channels)
        self.fields = nn.ModuleList(FieldOfView(channels[-1], fc_channels, rate, dropout) for rate in rates)

    def forward(self, images: Tensor) -> list[Tensor]:
        pool5 = self.body(images)[-1]  # without v1's average pooling
        return [field(pool5) for field in self.fields]


@dataclass(frozen=True)
class DeepLabV2Options(BackboneOptions):
    """`vgg16`, or a timm ResNet in Caffe's layout, every block of a dilated stage fully dilated.

    rates, dropout: of fc6, and after fc6 and fc7, of VGG-16.
    """

    backbone: str = "resnet101"
    rates: Sequence[int] = RATES
    dropout: float = 0.5

    def build(self, in_channels: int) -> Backbone:
        if self.backbone == "vgg16":
            return self._vgg16_fields(in_channels)
        return TimmOptions(
            self.backbone,
            output_stride=STRIDE,
            contract_dilation=False,
            caffe=True,
            width=self.width,
            pretrained=self.pretrained,
            weights=self.weights,
        ).build(in_channels)

    def _vgg16_fields(self, in_channels: int) -> VGG16Fields:
        tensors = classifier(self, "deeplabv2 on vgg16")
        (fc_channels,) = scaled((1024,), self.width)
        trunk = VGG16Fields(
            in_channels=in_channels,
            channels=scaled(CHANNELS, self.width),
            fc_channels=fc_channels,
            rates=self.rates,
            dropout=self.dropout,
        )
        shapes = (fc_channels, trunk.body.channels[-1], 3, 3), (fc_channels, fc_channels, 1, 1)
        fill_by_layer(trunk, decimate(tensors, *shapes), str(self.weights or "timm's vgg16"), in_channels)
        return trunk


class DeepLabV2Output(NamedTuple):
    """What DeepLabv2 computes; the loss reads the coarse scores."""

    logits: Tensor  # (B, K, H, W)
    coarse: Tensor  # (B, K, h, w), at stride 8


class DeepLabV2(Network[DeepLabV2Output]):
    """A trunk at stride 8, ASPP, and the scores enlarged (Sec. 3).

    rates: of ASPP, where the backbone is a ResNet; VGG16Fields has them already.
    corners: scores lie over the picture with corners aligned, as the authors have it, and not with areas, PyTorch's
        reading, which is exact at any size. It says how scores are enlarged and which labels they are trained with.

    The authors train a ResNet with BatchNorm frozen, statistics, scales and shifts.
    """

    paper: ClassVar[Paper] = Paper(
        "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully Connected "
        "CRFs",
        "Chen et al.",
        "TPAMI",
        2018,
        "1606.00915",
    )
    backbone_options = DeepLabV2Options()
    backbone: Backbone

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        rates: Sequence[int] = RATES,
        corners: bool = False,
        criterion: Criterion = cross_entropy,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head: nn.Module
        if isinstance(backbone, VGG16Fields):
            self.head = SummedScores(backbone.channels, num_classes)
        else:
            self.head = SummedASPP(backbone.channels[-1], num_classes, rates)
        self.num_classes = num_classes
        self.in_channels = backbone.in_channels
        self.stride = backbone.strides[-1]
        self.alignment = AlignedCorners() if corners else AlignedAreas()
        self.criterion = criterion

    def scores(self, images: Tensor) -> DeepLabV2Output:
        """(B, C, H, W) -> both fields at stride 8, a side of n pixels giving about n / 8 + 1 cells."""
        coarse = self.head(self.backbone(images))
        return DeepLabV2Output(coarse, coarse)

    def forward(self, images: Tensor) -> DeepLabV2Output:
        coarse = self.scores(images).coarse
        return DeepLabV2Output(self.alignment.enlarge(coarse, images, self.stride), coarse)

    def loss(self, output: DeepLabV2Output, target: Tensor) -> dict[str, Tensor]:
        """The criterion of the coarse scores against the labels under their cells."""
        return {"logits": self.criterion(output.coarse, self.alignment.labels(target, output.coarse, self.stride))}
