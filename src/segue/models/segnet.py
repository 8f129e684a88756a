"""SegNet: A Deep Convolutional Encoder-Decoder Architecture (Badrinarayanan et al., TPAMI 2017, arXiv:1511.00561).

The encoder remembers where each pooling window had its maximum; the decoder puts values back there, leaves zeros around
them, and learns to fill these in by convolutions. `SegNet` is the network on VGG-16, `SegNetBasic` the small one of the
paper's Sec. 3.2 (and of arXiv:1505.07293).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, NamedTuple, Self

import torch.nn.functional as F
from torch import Tensor, nn

from segue.backbones import BackboneOptions
from segue.backbones.alexnet import local_response_norm
from segue.backbones.vgg import CHANNELS, DEPTHS, classifier, fill_by_layer, scaled
from segue.layers import he_initialise
from segue.losses import cross_entropy
from segue.models.network import Criterion, Network, Paper

PAPER = Paper(
    "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation",
    "Badrinarayanan et al.",
    "TPAMI",
    2017,
    "1511.00561",
)
SHIFT = 0.001
"""What BatchNorm's shifts start at in the authors' files."""


class SegNetOutput(NamedTuple):
    """What both networks compute."""

    logits: Tensor  # (B, K, H, W)


class Encoded(NamedTuple):
    """What an encoder hands to its decoder; lists run from the finest stage to the coarsest."""

    maps: Tensor  # (B, C, h, w), after the last pooling
    indices: list[Tensor]  # of each pooling's maxima, int64
    sizes: list[tuple[int, int]]  # (height, width) that each pooling saw


def pool(maps: Tensor) -> tuple[Tensor, Tensor]:
    """2x2 maxima and their places. Sizes are rounded up as in Caffe: 45 rows become 23."""
    pooled, indices = F.max_pool2d(maps, 2, stride=2, ceil_mode=True, return_indices=True)
    return pooled, indices


def unpool(maps: Tensor, indices: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, h, w) -> (B, C, *size): each value where its window had the maximum, zero elsewhere (Fig. 3)."""
    return F.max_unpool2d(maps, indices, [2, 2], stride=[2, 2], output_size=size)


def _refuse_single_values(network: nn.Module, images: Tensor, stride: int) -> None:
    """BatchNorm meets maps of up to 1 / stride of the picture; of one value it cannot take a variance."""
    if network.training and images.shape[0] == 1 and max(images.shape[-2:]) <= stride:
        normalised = any(module.training for module in network.modules() if isinstance(module, nn.BatchNorm2d))
        if normalised:
            raise ValueError(
                f"one picture of {tuple(images.shape[-2:])} leaves one value per channel at stride {stride}, which "
                "BatchNorm cannot normalise in training: use larger or more pictures, or freeze BatchNorm"
            )


def _start(module: nn.Module) -> None:
    he_initialise(module)  # "msra" in the authors' files
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.constant_(layer.bias, SHIFT)


class Encoder(nn.Module):
    """The thirteen convolutions of VGG-16, each with bias, BatchNorm and ReLU: (B, C, H, W) -> Encoded, stride 32.

    dropout: at the end of the third, fourth and fifth stage.
    """

    def __init__(self, *, in_channels: int = 3, channels: Sequence[int] = CHANNELS, dropout: float = 0.0) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.channels = tuple(channels)
        self.stages = nn.ModuleDict()
        for number, (before, after) in enumerate(pairwise((in_channels, *channels)), start=1):
            layers: OrderedDict[str, nn.Module] = OrderedDict()
            for index in range(1, DEPTHS[number - 1] + 1):
                layers[f"conv{number}_{index}"] = nn.Conv2d(before, after, 3, padding=1)
                layers[f"conv{number}_{index}_bn"] = nn.BatchNorm2d(after)
                layers[f"relu{number}_{index}"] = nn.ReLU(inplace=True)
                before = after
            self.stages[str(number)] = nn.Sequential(layers)
        self.dropouts = nn.ModuleList(nn.Dropout(dropout if number >= 3 else 0.0) for number in range(1, 6))
        _start(self)

    def forward(self, images: Tensor) -> Encoded:
        maps, indices, sizes = images, [], []
        for stage, dropout in zip(self.stages.values(), self.dropouts, strict=True):
            maps = stage(maps)
            sizes.append((maps.shape[-2], maps.shape[-1]))
            maps, places = pool(maps)
            maps = dropout(maps)
            indices.append(places)
        return Encoded(maps, indices, sizes)


@dataclass(frozen=True)
class EncoderOptions(BackboneOptions):
    """An `Encoder` as data. `pretrained` fetches torchvision's VGG-16 with BatchNorm.

    weights: a file of a VGG-16 with BatchNorm, or without, whose convolutions are then taken and BatchNorm starts
    anew, as in the paper.
    """

    dropout: float = 0.0

    def build(self, in_channels: int) -> Encoder:
        tensors = classifier(self, "segnet", "vgg16_bn")
        encoder = Encoder(in_channels=in_channels, channels=scaled(CHANNELS, self.width), dropout=self.dropout)
        if tensors and "conv1_1_bn.weight" not in tensors:
            own = encoder.state_dict()
            tensors |= {".".join(name.split(".")[-2:]): own[name] for name in own if "_bn." in name}
        fill_by_layer(encoder, tensors, str(self.weights or "timm's vgg16_bn"), in_channels)
        return encoder


class Decoder(nn.Module):
    """The encoder's mirror image: Encoded -> (B, K, H, W).

    Each stage unpools, then has its encoder stage's convolutions in reverse; the last one of each narrows to the next
    stage's channels, and the very last, without BatchNorm and ReLU, scores the classes.
    dropout: at the end of the stages that mirror the fifth, fourth and third.
    """

    def __init__(self, channels: Sequence[int], num_classes: int, dropout: float) -> None:
        super().__init__()
        self.stages = nn.ModuleDict()
        for number in range(5, 0, -1):
            layers: OrderedDict[str, nn.Module] = OrderedDict()
            own = channels[number - 1]
            for index in range(DEPTHS[number - 1], 0, -1):
                name = f"conv{number}_{index}_D"
                if index == 1 and number == 1:
                    layers[name] = nn.Conv2d(own, num_classes, 3, padding=1)
                    continue
                after = own if index > 1 else channels[number - 2]
                layers[name] = nn.Conv2d(own, after, 3, padding=1)
                layers[f"{name}_bn"] = nn.BatchNorm2d(after)
                layers[f"relu{number}_{index}_D"] = nn.ReLU(inplace=True)
            self.stages[str(number)] = nn.Sequential(layers)
        self.dropouts = nn.ModuleList(nn.Dropout(dropout if number >= 3 else 0.0) for number in range(5, 0, -1))
        _start(self)

    def forward(self, encoded: Encoded) -> Tensor:
        maps = encoded.maps
        remembered = zip(reversed(encoded.indices), reversed(encoded.sizes), strict=True)
        for stage, dropout, (indices, size) in zip(self.stages.values(), self.dropouts, remembered, strict=True):
            maps = dropout(stage(unpool(maps, indices, size)))
        return maps


class SegNet(Network[SegNetOutput]):
    """SegNet on VGG-16 (Fig. 2).

    dropout: 0.5 is Bayesian SegNet's (arXiv:1511.02680), after the third to fifth stage of the encoder and of the
        decoder, and the natural reading of the benchmark's "dropout at the end of deeper layers" (Sec. 4). The
        authors' plain definition has none.

    The authors do not test with running averages: after training they collect BatchNorm's statistics anew, over one
    pass of the training set with the final weights.
    """

    paper: ClassVar[Paper] = PAPER
    backbone_options = EncoderOptions()
    backbone: Encoder

    def __init__(
        self, backbone: Encoder, num_classes: int, *, dropout: float = 0.0, criterion: Criterion = cross_entropy
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.in_channels = backbone.in_channels
        self.criterion = criterion
        self.backbone = backbone
        self.decoder = Decoder(backbone.channels, num_classes, dropout)

    def encode(self, images: Tensor) -> Encoded:
        """(B, C, H, W) -> the maps after the last pooling, and what each pooling remembers."""
        encoded: Encoded = self.backbone(images)
        return encoded

    def forward(self, images: Tensor) -> SegNetOutput:
        _refuse_single_values(self, images, 16)
        return SegNetOutput(self.decoder(self.encode(images)))

    def loss(self, output: SegNetOutput, target: Tensor) -> dict[str, Tensor]:
        """The criterion of the one map."""
        return {"logits": self.criterion(output.logits, target)}


class SegNetBasic(Network[SegNetOutput]):
    """Four stages of one 7x7 convolution each, down and up, all equally wide (Sec. 3.2).

    The picture is normalised across channels first (LRN); the decoder's convolutions have no ReLU. The paper says
    that there are no biases; the authors' file has them, and so does this network.
    """

    paper: ClassVar[Paper] = PAPER

    def __init__(
        self, num_classes: int, *, in_channels: int = 3, channels: int = 64, criterion: Criterion = cross_entropy
    ) -> None:
        super().__init__()
        self.backbone = None
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.criterion = criterion
        self.norm = local_response_norm()
        self.encoder = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, channels, 7, padding=3), nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
            for before in (in_channels, channels, channels, channels)
        )
        self.decoder = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, channels, 7, padding=3), nn.BatchNorm2d(channels)) for _ in range(4)
        )
        self.classify = nn.Conv2d(channels, num_classes, 1)
        _start(self)

    @classmethod
    def build(  # type: ignore[override]  # it names all of its options
        cls, num_classes: int, *, in_channels: int = 3, width: float = 1.0, criterion: Criterion = cross_entropy
    ) -> Self:
        """SegNet-Basic; it starts from random weights always."""
        (channels,) = scaled((64,), width)
        return cls(num_classes, in_channels=in_channels, channels=channels, criterion=criterion)

    def encode(self, images: Tensor) -> Encoded:
        """(B, C, H, W) -> the maps after the last pooling, at stride 16, and what each pooling remembers."""
        maps, indices, sizes = self.norm(images), [], []
        for stage in self.encoder:
            maps = stage(maps)
            sizes.append((maps.shape[-2], maps.shape[-1]))
            maps, places = pool(maps)
            indices.append(places)
        return Encoded(maps, indices, sizes)

    def forward(self, images: Tensor) -> SegNetOutput:
        _refuse_single_values(self, images, 8)
        maps, indices, sizes = self.encode(images)
        for stage, places, size in zip(self.decoder, reversed(indices), reversed(sizes), strict=True):
            maps = stage(unpool(maps, places, size))
        return SegNetOutput(self.classify(maps))

    def loss(self, output: SegNetOutput, target: Tensor) -> dict[str, Tensor]:
        """The criterion of the one map."""
        return {"logits": self.criterion(output.logits, target)}
