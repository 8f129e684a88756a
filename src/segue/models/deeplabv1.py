"""DeepLab: Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs (Chen et al., ICLR 2015,
arXiv:1412.7062), the LargeFOV network; the CRF is a step after prediction (`segue.crf`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from segue.backbones import VGG16, Backbone, BackboneOptions
from segue.backbones.vgg import CHANNELS, classifier, fill_by_layer, scaled
from segue.layers import AlignedCorners, he_initialise
from segue.losses import cross_entropy
from segue.models.network import Criterion, Network, Paper

STRIDE = 8


def dilated_vgg16(in_channels: int, channels: Sequence[int]) -> VGG16:
    """VGG-16 at stride 8 (Sec. 3.1): the last two poolings keep the size, and the fifth stage is dilated by 2.

    Poolings are 3x3, not 2x2, so that maps at different strides lie exactly over each other; they round up, as Caffe
    does: of 96 rows remain 13, of 97 as well.
    """
    pools = [nn.MaxPool2d(3, stride=stride, padding=1, ceil_mode=True) for stride in (2, 2, 2, 1, 1)]
    return VGG16(pools, in_channels=in_channels, channels=channels, dilations=(1, 1, 1, 1, 2))


def start_classifier(layer: nn.Conv2d) -> None:
    """Draw a layer that scores classes as the authors' files do: deviation 0.01, biases zero."""
    nn.init.normal_(layer.weight, std=0.01)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


def decimate(tensors: dict[str, Tensor], fc6: tuple[int, ...], fc7: tuple[int, ...]) -> dict[str, Tensor]:
    """The classifier's fc6 and fc7 thinned out to smaller ones of the given shapes (Sec. 3.2).

    The kernel is subsampled evenly, 7x7 to 3x3 by taking rows and columns 0, 3, 6, and so are the filters, every
    fourth of 4096. Which ones the authors kept is not known. What fits already is left as it is.
    """
    thinned = dict(tensors)
    for name, (out_channels, in_channels, side, _) in (("fc6", fc6), ("fc7", fc7)):
        weight = tensors.get(f"{name}.weight")
        if weight is None or weight.shape[0] < out_channels or weight.shape[1] < in_channels:
            continue  # told by the check of shapes
        filters, inputs = weight.shape[0] // out_channels, weight.shape[1] // in_channels
        taps = (weight.shape[-1] - 1) // (side - 1) if side > 1 else 1
        thinned[f"{name}.weight"] = weight[::filters, ::inputs, ::taps, ::taps][:out_channels, :in_channels]
        thinned[f"{name}.bias"] = tensors[f"{name}.bias"][::filters][:out_channels]
    return thinned


class LargeFOV(Backbone):
    """VGG-16 and the thinned-out fc6 and fc7 as dilated convolutions: (B, C, H, W) -> [fc7], at stride 8.

    rate: dilation of fc6 (12: a field of 25 cells, about what the classifier's 7x7 sees at stride 32).
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        channels: Sequence[int] = CHANNELS,
        fc_channels: int = 1024,
        rate: int = 12,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.name = "vgg16"
        self.in_channels = in_channels
        self.channels = (fc_channels,)
        self.strides = (STRIDE,)
        self.body = dilated_vgg16(in_channels, channels)
        self.pool5a = nn.AvgPool2d(3, stride=1, padding=1)  # zeros around the map count: the divisor is 9 everywhere
        self.fc6 = nn.Conv2d(channels[-1], fc_channels, 3, padding=rate, dilation=rate)
        self.fc7 = nn.Conv2d(fc_channels, fc_channels, 1)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)
        he_initialise(self.fc6)
        he_initialise(self.fc7)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = self.pool5a(self.body(images)[-1])
        maps = self.dropout(self.relu(self.fc6(maps)))
        return [self.dropout(self.relu(self.fc7(maps)))]


@dataclass(frozen=True)
class LargeFOVOptions(BackboneOptions):
    """A `LargeFOV` as data; from `pretrained` or `weights`, a VGG-16 classifier, fc6 and fc7 are thinned out."""

    rate: int = 12
    dropout: float = 0.5

    def build(self, in_channels: int) -> LargeFOV:
        tensors = classifier(self, "deeplabv1")
        (fc_channels,) = scaled((1024,), self.width)
        trunk = LargeFOV(
            in_channels=in_channels,
            channels=scaled(CHANNELS, self.width),
            fc_channels=fc_channels,
            rate=self.rate,
            dropout=self.dropout,
        )
        thinned = decimate(tensors, trunk.fc6.weight.shape, trunk.fc7.weight.shape)
        fill_by_layer(trunk, thinned, str(self.weights or "timm's vgg16"), in_channels)
        return trunk


class DeepLabV1Output(NamedTuple):
    """What DeepLab computes; the loss reads the coarse scores."""

    logits: Tensor  # (B, K, H, W)
    coarse: Tensor  # (B, K, h, w), at stride 8


class DeepLabV1(Network[DeepLabV1Output]):
    """A classifier at stride 8, trained at that stride; the scores enlarged by 8 (Sec. 3.1).

    Cell i is centred on pixel 8 i: scores are enlarged with corners aligned, to 8 (h - 1) + 1 pixels a side, and cut to
    the picture, as the authors do by filling pictures up to 513 pixels. Sides of 8 k + 1 lose nothing.
    """

    paper: ClassVar[Paper] = Paper(
        "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs",
        "Chen et al.",
        "ICLR",
        2015,
        "1412.7062",
    )
    backbone_options = LargeFOVOptions()
    backbone: Backbone
    alignment = AlignedCorners()

    def __init__(self, backbone: Backbone, num_classes: int, *, criterion: Criterion = cross_entropy) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_classes = num_classes
        self.in_channels = backbone.in_channels
        self.criterion = criterion
        self.fc8 = nn.Conv2d(backbone.channels[-1], num_classes, 1)
        start_classifier(self.fc8)

    def scores(self, images: Tensor) -> DeepLabV1Output:
        """(B, C, H, W) -> both fields at stride 8, a side of n pixels giving 1 + (n - 1) / 8 cells, rounded up."""
        coarse = self.fc8(self.backbone(images)[-1])
        return DeepLabV1Output(coarse, coarse)

    def forward(self, images: Tensor) -> DeepLabV1Output:
        coarse = self.scores(images).coarse
        return DeepLabV1Output(self.alignment.enlarge(coarse, images, STRIDE), coarse)

    def loss(self, output: DeepLabV1Output, target: Tensor) -> dict[str, Tensor]:
        """The criterion of the coarse scores against every eighth pixel's label (Sec. 3.1)."""
        return {"logits": self.criterion(output.coarse, self.alignment.labels(target, output.coarse, STRIDE))}
