"""FCN: Fully Convolutional Networks for Semantic Segmentation (Long et al., CVPR 2015, arXiv:1411.4038).

A classifier whose fully connected layers are read as convolutions scores every place of the picture; transposed
convolutions enlarge the scores, and skips add those of finer maps (Fig. 3). The journal article (Shelhamer et al.,
TPAMI 2017, arXiv:1605.06211) has new recipes for the same networks.

Where the crop offsets come from: cell 0 of a map is centred on some pixel of the picture. A convolution or pooling of
kernel k and padding p moves that centre by ((k - 1) / 2 - p) cells of its input, and a transposed convolution of kernel
k by -(k - 1) / 2 cells of its output. With VGG-16's first padding of 100, cell 0 lies on pixel -95.5 after pool3, -91.5
after pool4, -83.5 after pool5 and 12.5 after fc6. Two maps are added where their centres meet.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from segue.backbones import VGG16, AlexNet, Backbone, BackboneOptions, GoogLeNet, read_state
from segue.backbones import alexnet as caffenet
from segue.backbones.backbone import fill
from segue.backbones.googlenet import googlenet_names
from segue.backbones.vgg import CHANNELS, as_convolution, classifier, fill_by_layer, scaled
from segue.layers import he_initialise
from segue.losses import cross_entropy
from segue.models.network import Criterion, Network, Paper

PADDING = 100
"""Zeros around the picture in VGG-16 and AlexNet: enough for one cell of fc6 even from a picture of one pixel."""


class FCNOutput(NamedTuple):
    """What every FCN computes."""

    logits: Tensor  # (B, K, H, W)
    score_fr: Tensor  # (B, K, h, w), the scores of the coarsest map at stride 32, before anything is added


class Trunk(Backbone):
    """A classifier made fully convolutional: the pretrained part of an FCN, its fully connected layers included.

    centre: the pixel on which cell 0 of the last map is centred.
    """

    centre: float

    @classmethod
    @abstractmethod
    def create(cls, options: TrunkOptions, in_channels: int) -> Self:
        """The trunk at its own or a narrower width, filled from a classifier's weights if there are any."""


@dataclass(frozen=True)
class TrunkOptions(BackboneOptions):
    """A `Trunk` as data: `vgg16`, for FCN-32s also `alexnet` or `googlenet`.

    pretrained, weights: of an ImageNet classifier; fc6 and fc7 are carried over.
    dropout: 0.5 after fc6 and fc7, 0.4 after GoogLeNet, when not given.
    """

    backbone: str = "vgg16"
    dropout: float | None = None

    def build(self, in_channels: int) -> Trunk:
        if self.backbone not in TRUNKS:
            raise ValueError(f"there is no trunk {self.backbone!r} for an FCN; known: {', '.join(TRUNKS)}")
        return TRUNKS[self.backbone].create(self, in_channels)


class FullyConvolutional(nn.Module):
    """fc6 and fc7 as convolutions, each with ReLU and dropout (Sec. 3.1): (B, C, h, w) -> (B, F, h - k + 1, w - k + 1).

    kernel: of fc6, the side of the map that the classifier flattened.
    """

    def __init__(self, in_channels: int, channels: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.fc6 = nn.Conv2d(in_channels, channels, kernel)
        self.fc7 = nn.Conv2d(channels, channels, 1)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)  # single values, as in Caffe
        he_initialise(self)

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.dropout(self.relu(self.fc6(maps)))
        dropped: Tensor = self.dropout(self.relu(self.fc7(maps)))
        return dropped


class VGG16Trunk(Trunk):
    """VGG-16 -> pool3, pool4, fc7, at strides 8, 16, 32. Poolings round up, or the crops would fit few pictures."""

    centre = 12.5

    def __init__(
        self,
        *,
        in_channels: int = 3,
        channels: Sequence[int] = CHANNELS,
        fc_channels: int = 4096,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.name = "vgg16"
        self.in_channels = in_channels
        self.channels = (channels[2], channels[3], fc_channels)
        self.strides = (8, 16, 32)
        pools = [nn.MaxPool2d(2, stride=2, ceil_mode=True) for _ in range(5)]
        self.body = VGG16(pools, in_channels=in_channels, channels=channels, padding=PADDING)
        self.classifier = FullyConvolutional(channels[4], fc_channels, 7, dropout)

    @classmethod
    def create(cls, options: TrunkOptions, in_channels: int) -> Self:
        tensors = classifier(options, "vgg16")
        (fc_channels,) = scaled((4096,), options.width)
        trunk = cls(
            in_channels=in_channels,
            channels=scaled(CHANNELS, options.width),
            fc_channels=fc_channels,
            dropout=0.5 if options.dropout is None else options.dropout,
        )
        fill_by_layer(trunk, tensors, str(options.weights or "timm's vgg16"), in_channels)
        return trunk

    def forward(self, images: Tensor) -> list[Tensor]:
        _, _, pool3, pool4, pool5 = self.body(images)
        return [pool3, pool4, self.classifier(pool5)]


class AlexNetTrunk(Trunk):
    """CaffeNet -> fc7, at stride 32.

    `weights` is a file of Caffe's tensors (conv1.weight, ..., fc7.bias). timm and torchvision publish no such network,
    so nothing can be fetched.
    """

    centre = 13.0  # -95 after conv1, -91, -83 and -67 after the poolings, and 2.5 * 32 = 80 further after fc6

    def __init__(
        self,
        *,
        in_channels: int = 3,
        channels: Sequence[int] = caffenet.CHANNELS,
        fc_channels: int = 4096,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.name = "alexnet"
        self.in_channels = in_channels
        self.channels = (fc_channels,)
        self.strides = (32,)
        self.body = AlexNet(in_channels=in_channels, channels=channels, padding=PADDING)
        self.classifier = FullyConvolutional(channels[4], fc_channels, 6, dropout)

    @classmethod
    def create(cls, options: TrunkOptions, in_channels: int) -> Self:
        _nothing_to_fetch(options)
        (fc_channels,) = scaled((4096,), options.width)
        trunk = cls(
            in_channels=in_channels,
            channels=scaled(caffenet.CHANNELS, options.width),
            fc_channels=fc_channels,
            dropout=0.5 if options.dropout is None else options.dropout,
        )
        if options.weights is not None:
            tensors = read_state(options.weights)
            for name, before in (("fc6.weight", trunk.body.channels[-1]), ("fc7.weight", fc_channels)):
                if name in tensors:
                    tensors[name] = as_convolution(tensors[name], before)
            fill_by_layer(trunk, tensors, str(options.weights), in_channels)
        return trunk

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.classifier(self.body(images)[-1])]


class GoogLeNetTrunk(Trunk):
    """GoogLeNet -> inception 5b, at stride 32: no fully connected layer, the final average pooling dropped (Sec. 4.1).

    The paper gives no more detail and no definition was published: first padding, dropout of 0.4 and crop are the
    classifier's own. `weights` is a file of Caffe's tensors (conv1/7x7_s2.weight, ...).
    """

    centre = 30.0  # 0 after conv1, then 2 + 4 + 8 + 16 from the four poolings

    def __init__(self, *, in_channels: int = 3, width: float = 1.0, dropout: float = 0.4) -> None:
        super().__init__()
        self.name = "googlenet"
        self.in_channels = in_channels
        self.body = GoogLeNet(in_channels=in_channels, width=width)
        self.channels = self.body.channels[-1:]
        self.strides = (32,)
        self.dropout = nn.Dropout(dropout)

    @classmethod
    def create(cls, options: TrunkOptions, in_channels: int) -> Self:
        _nothing_to_fetch(options)
        dropout = 0.4 if options.dropout is None else options.dropout
        trunk = cls(in_channels=in_channels, width=options.width, dropout=dropout)
        if options.weights is not None:
            fill(trunk.body, googlenet_names(read_state(options.weights)), str(options.weights), in_channels)
        return trunk

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.dropout(self.body(images)[-1])]


def _nothing_to_fetch(options: TrunkOptions) -> None:
    if options.pretrained:
        name = options.backbone
        raise ValueError(
            f"{name}: Caffe's {name} is not what timm or torchvision publish under that name, so pretrained = true "
            "has nothing to fetch; give `weights`, a file of Caffe's tensors"
        )


TRUNKS: dict[str, type[Trunk]] = {"vgg16": VGG16Trunk, "alexnet": AlexNetTrunk, "googlenet": GoogLeNetTrunk}


def bilinear_kernel(size: int) -> Tensor:
    """(size, size): the weights by which a transposed convolution of stride size // 2 interpolates bilinearly."""
    factor = math.ceil(size / 2)
    centre = factor - 1 if size % 2 else factor - 0.5
    row = 1 - (torch.arange(size) - centre).abs() / factor
    return row[:, None] * row[None, :]


class Upscore(nn.ConvTranspose2d):
    """Enlarge each class's scores by `stride`: a transposed convolution that starts as bilinear interpolation.

    (B, K, h, w) -> (B, K, stride * (h - 1) + kernel, ...). Classes may mix (the weight is dense), but start apart.
    Without `learn` it stays what it starts as.
    """

    def __init__(self, num_classes: int, kernel: int, stride: int, learn: bool) -> None:
        super().__init__(num_classes, num_classes, kernel, stride=stride, bias=False)
        with torch.no_grad():
            self.weight.zero_()
            for index in range(num_classes):
                self.weight[index, index] = bilinear_kernel(kernel)
        self.weight.requires_grad_(learn)


def crop(maps: Tensor, offset: int, like: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C, H, W), the size of `like`, from row and column `offset` on."""
    height, width = like.shape[-2:]
    return maps[..., offset : offset + height, offset : offset + width]


class FCN(Network[FCNOutput]):
    """What all FCNs have in common: the trunk, the scores of its last map, and the loss.

    learn_upsampling: let the transposed convolutions learn. The conference paper learns the inner ones and fixes the
        last; the authors' code fixes all, and finds no difference.
    """

    paper: ClassVar[Paper] = Paper(
        "Fully Convolutional Networks for Semantic Segmentation", "Long et al.", "CVPR", 2015, "1411.4038"
    )
    backbone_options = TrunkOptions("vgg16")
    backbone: Trunk

    def __init__(
        self,
        backbone: Trunk,
        num_classes: int,
        *,
        learn_upsampling: bool = False,
        criterion: Criterion = cross_entropy,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_classes = num_classes
        self.in_channels = backbone.in_channels
        self.learn_upsampling = learn_upsampling
        self.criterion = criterion
        self.score_fr = self.score(-1)
        self.add_layers()

    @abstractmethod
    def add_layers(self) -> None:
        """Make what the network has beside the scores of the last map; `__init__` calls it."""

    def score(self, index: int) -> nn.Conv2d:
        """A 1x1 score layer for one of the trunk's maps, counted from the last; it starts at zero (Sec. 4.2, 4.3).

        So the first loss is ln K, and a new skip changes nothing.
        """
        channels = self.backbone.channels
        if len(channels) < -index:
            raise ValueError(
                f"{self.backbone.name} has no skips: FCN-16s and FCN-8s are defined on vgg16, FCN-32s on any trunk"
            )
        layer = nn.Conv2d(channels[index], self.num_classes, 1)
        nn.init.zeros_(layer.weight)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
        return layer

    def upscore(self, kernel: int, stride: int) -> Upscore:
        """One of this network's transposed convolutions."""
        return Upscore(self.num_classes, kernel, stride, self.learn_upsampling)

    def loss(self, output: FCNOutput, target: Tensor) -> dict[str, Tensor]:
        """The criterion of the one map."""
        return {"logits": self.criterion(output.logits, target)}


class FCN32s(FCN):
    """Scores at stride 32, enlarged in one step.

    The transposed convolution puts cell 0 on pixel (k - 1) / 2 of its output, so the picture begins at that less the
    trunk's centre: 31.5 - 12.5 = 19 for VGG-16, 31 - 13 = 18 for AlexNet, 31 - 30 = 1 for GoogLeNet. Its kernel is
    64, or 63 where the centre is a whole pixel.
    """

    def add_layers(self) -> None:
        centre = self.backbone.centre
        kernel = 63 if centre.is_integer() else 64
        self.upscore32 = self.upscore(kernel, 32)
        self.offset = int((kernel - 1) / 2 - centre)

    def forward(self, images: Tensor) -> FCNOutput:
        score_fr = self.score_fr(self.backbone(images)[-1])
        return FCNOutput(crop(self.upscore32(score_fr), self.offset, like=images), score_fr)


class FCN16s(FCN):
    """Scores at stride 32, enlarged by 2, plus those of pool4; the sum enlarged by 16."""

    def add_layers(self) -> None:
        self.score_pool4 = self.score(-2)
        self.upscore2 = self.upscore(4, 2)
        self.upscore16 = self.upscore(32, 16)

    def forward(self, images: Tensor) -> FCNOutput:
        _, pool4, fc7 = self.backbone(images)
        score_fr = self.score_fr(fc7)
        scores = self.upscore2(score_fr)  # cell 0 on pixel 12.5 - 1.5 * 16 = -11.5
        scores = scores + crop(self.score_pool4(pool4), 5, like=scores)  # 5 = (-11.5 + 91.5) / 16
        return FCNOutput(crop(self.upscore16(scores), 27, like=images), score_fr)  # 27 = 15.5 + 11.5


class FCN8s(FCN):
    """As FCN-16s up to pool4; the sum enlarged by 2, plus the scores of pool3; that sum enlarged by 8."""

    scales: ClassVar[tuple[float, float]] = (1.0, 1.0)  # of pool4 and pool3, before they are scored

    def add_layers(self) -> None:
        self.score_pool4 = self.score(-2)
        self.score_pool3 = self.score(-3)
        self.upscore2 = self.upscore(4, 2)
        self.upscore_pool4 = self.upscore(4, 2)
        self.upscore8 = self.upscore(16, 8)

    def forward(self, images: Tensor) -> FCNOutput:
        pool3, pool4, fc7 = self.backbone(images)
        score_fr = self.score_fr(fc7)
        scores = self.upscore2(score_fr)  # cell 0 on pixel 12.5 - 1.5 * 16 = -11.5
        scores = scores + crop(self.score_pool4(self.scales[0] * pool4), 5, like=scores)  # 5 = (-11.5 + 91.5) / 16
        scores = self.upscore_pool4(scores)  # cell 0 on pixel -11.5 - 1.5 * 8 = -23.5
        scores = scores + crop(self.score_pool3(self.scales[1] * pool3), 9, like=scores)  # 9 = (-23.5 + 95.5) / 8
        return FCNOutput(crop(self.upscore8(scores), 31, like=images), score_fr)  # 31 = 7.5 + 23.5


class FCN8sAtOnce(FCN8s):
    """FCN-8s to be trained in one go instead of by way of 32s and 16s (TPAMI, Sec. 4.3).

    The maps of pool4 and pool3 are scaled to the range of the last map's, or they would drown it; biases are not.
    """

    scales: ClassVar[tuple[float, float]] = (0.01, 0.0001)
