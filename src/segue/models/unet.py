"""U-Net: Convolutional Networks for Biomedical Image Segmentation (Ronneberger et al., MICCAI 2015, arXiv:1505.04597).

Three networks bear the name, and each is a class of its own here: the paper's, without BatchNorm and with valid
convolutions (`PaperUNet`); the padded one with BatchNorm that most people train (`PaddedUNet`); and the expanding path
on an ImageNet encoder (`EncoderUNet`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segue.backbones import Backbone, TimmBackbone
from segue.layers import ConvBNReLU, he_initialise, resize
from segue.layers.ppm import refuse_single_values
from segue.losses import cross_entropy
from segue.models.network import Criterion, Network, Paper


class UNetOutput(NamedTuple):
    """What every U-Net computes."""

    logits: Tensor  # (B, K, H, W)


class UNet(Network[UNetOutput]):
    """What the three have in common: one segmentation map and its loss."""

    paper: ClassVar[Paper] = Paper(
        "U-Net: Convolutional Networks for Biomedical Image Segmentation",
        "Ronneberger et al.",
        "MICCAI",
        2015,
        "1505.04597",
    )
    criterion: Criterion

    @classmethod
    def build(  # type: ignore[override]  # it names all of its options
        cls,
        num_classes: int,
        *,
        in_channels: int = 3,
        backbone: str | None = None,
        pretrained: bool = False,
        weights: str | Path | None = None,
        width: float = 1.0,
        valid: bool = False,
        bilinear: bool = False,
        channels: Sequence[int] = (),
        criterion: Criterion = cross_entropy,
    ) -> UNet:
        """The U-Net that the arguments describe.

        With `backbone`, the expanding path on that timm encoder, `channels` being its widths from coarse to fine
        (256, 128, 64, 32, 16); with `valid`, the paper's; otherwise the padded one with BatchNorm. For the last two,
        `channels` are the widths of the levels from fine to coarse (64, 128, 256, 512, 1024), and `bilinear` enlarges
        without weights.
        """
        levels = tuple(round(base * width) for base in (64, 128, 256, 512, 1024))
        if backbone is not None:
            if valid or bilinear:
                raise ValueError("valid and bilinear are for the U-Net without a backbone: drop them, or the backbone")
            encoder = TimmBackbone(
                backbone, in_channels=in_channels, width=width, pretrained=pretrained, weights=weights
            )
            return EncoderUNet(encoder, num_classes, channels=channels or (256, 128, 64, 32, 16), criterion=criterion)
        if pretrained or weights is not None:
            raise ValueError("a U-Net without a backbone has no pretrained part: name a backbone, resnet34 say")
        network = PaperUNet if valid else PaddedUNet
        return network(
            num_classes, in_channels=in_channels, channels=channels or levels, bilinear=bilinear, criterion=criterion
        )

    def loss(self, output: UNetOutput, target: Tensor) -> dict[str, Tensor]:
        """The criterion of the one map."""
        return {"logits": self.criterion(output.logits, target)}


def _crop_centre(maps: Tensor, like: Tensor) -> Tensor:
    top = (maps.shape[-2] - like.shape[-2]) // 2
    left = (maps.shape[-1] - like.shape[-1]) // 2
    return maps[..., top : top + like.shape[-2], left : left + like.shape[-1]]


def _double_convolution(in_channels: int, channels: int, padding: int, norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (in_channels, channels):
        layers += [nn.Conv2d(before, channels, 3, padding=padding), nn.ReLU(inplace=True)]
        if norm:
            layers.append(nn.BatchNorm2d(channels))
    return nn.Sequential(*layers)


def _enlarge(in_channels: int, channels: int, bilinear: bool, relu: bool) -> nn.Sequential:
    layers: list[nn.Module] = (
        [nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), nn.Conv2d(in_channels, channels, 1)]
        if bilinear
        else [nn.ConvTranspose2d(in_channels, channels, 2, stride=2)]
    )
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class PaperUNet(UNet):
    """The paper's Fig. 1: convolutions with bias, no BatchNorm, 2x2 up-convolutions, skips cropped to fit.

    padding: 0 for the paper's valid convolutions; 1 for convolutions that keep the size.
    up_relu: a ReLU after each up-convolution, as the released network has and the figure has not.
    dropout: at the end of the contracting path, as the paper says. The released network has 0.5 there and, unlike this
        one, on the level before as well, its skip included.
    bilinear: enlarge without weights and narrow by a 1x1 convolution, instead of 2x2 up-convolutions.
    norm: BatchNorm after each ReLU of the 3x3 convolutions. These two are options of jvanvugt's pytorch-unet.

    The valid form loses `margin` pixels on every side: 92 with five levels, half of 572 - 388 (Fig. 1). `forward`
    mirrors the picture's border by as much first, as the paper's overlap-tile strategy does, so that its logits have
    the image's size; `valid_logits` is the bare map.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        channels: Sequence[int] = (64, 128, 256, 512, 1024),
        padding: int = 0,
        up_relu: bool = False,
        dropout: float = 0.5,
        bilinear: bool = False,
        norm: bool = False,
        criterion: Criterion = cross_entropy,
    ) -> None:
        super().__init__()
        self.backbone = None
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.padding = padding
        self.criterion = criterion
        self.down = nn.ModuleList(
            _double_convolution(before, after, padding, norm) for before, after in pairwise((in_channels, *channels))
        )
        upward = list(pairwise(reversed(channels)))
        self.upsample = nn.ModuleList(_enlarge(before, after, bilinear, up_relu) for before, after in upward)
        self.up = nn.ModuleList(_double_convolution(2 * after, after, padding, norm) for _, after in upward)
        # Two 3x3 convolutions take 4 cells from a side. With M = 2^(levels - 1) pixels in one of the coarsest cells, a
        # coarsest side of b comes from a picture of M b + 8 M - 4 pixels and makes M b - 4 M + 4 logits.
        self.multiple = 2 ** (len(channels) - 1)
        self.margin = 6 * self.multiple - 4
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Conv2d(channels[0], num_classes, 1)
        he_initialise(self)  # Sec. 3: without it, so deep a network without BatchNorm hardly starts to learn

    def contract(self, images: Tensor) -> list[Tensor]:
        """The contracting path's maps, finest first: the skips, and last the coarsest."""
        maps = [self.down[0](images)]
        for level in self.down[1:]:
            maps.append(level(F.max_pool2d(maps[-1], 2)))
        return maps

    def _scores(self, images: Tensor) -> Tensor:
        *skips, maps = self.contract(images)
        maps = self.dropout(maps)
        for upsample, level, skip in zip(self.upsample, self.up, reversed(skips), strict=True):
            maps = upsample(maps)
            maps = level(torch.cat([maps, _crop_centre(skip, like=maps)], dim=1))  # the order of the release
        scores: Tensor = self.classify(maps)
        return scores

    def valid_logits(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H - 184, W - 184), as in Fig. 1; sides are 16 m + 60 with m of 8 or more.

        With other than five levels these numbers are `2 * margin` and `multiple`. Raises ValueError at other sides,
        where a pooling would meet an odd map, and for the padded form.
        """
        if self.padding:
            raise ValueError("this U-Net is padded: its logits have the image's size already")
        smallest = 2 * self.margin + 4
        for side in images.shape[-2:]:
            if side < smallest or (side - smallest) % self.multiple:
                valid = ", ".join(str(smallest + step * self.multiple) for step in range(3))
                raise ValueError(f"a side of {side}: valid sides are {valid}, ...")
        return self._scores(images)

    def forward(self, images: Tensor) -> UNetOutput:
        height, width = images.shape[-2:]
        if self.padding:
            bottom, right = -height % self.multiple, -width % self.multiple
            padded = F.pad(images, (0, right, 0, bottom)) if bottom or right else images
            return UNetOutput(self._scores(padded)[..., :height, :width])
        # The next valid side at or above H + 184, that is 184 and 4 + 16 m; what is more goes to the bottom and right.
        bottom, right = (max(4, side + (4 - side) % self.multiple) - side + self.margin for side in (height, width))
        mirrored = mirror_border(images, left=self.margin, right=right, top=self.margin, bottom=bottom)
        return UNetOutput(self.valid_logits(mirrored)[..., :height, :width])


def mirror_border(images: Tensor, *, left: int, right: int, top: int, bottom: int) -> Tensor:
    """Extend a picture by its own reflection, as often as needed: `F.pad` reflects once only."""

    def reflected(length: int, before: int, after: int) -> Tensor:
        period = max(2 * length - 2, 1)
        positions = torch.arange(-before, length + after, device=images.device) % period
        return torch.where(positions < length, positions, period - positions)

    rows = reflected(images.shape[-2], top, bottom)
    columns = reflected(images.shape[-1], left, right)
    return images.index_select(-2, rows).index_select(-1, columns)


class PaddedUNet(UNet):
    """The padded form with BatchNorm, as milesial's Pytorch-UNet made it common.

    bilinear: enlarge without weights (corners aligned) instead of 2x2 up-convolutions, with half the channels at
    the coarsest level. An enlarged map is padded by zeros to its skip's size; so is, at its right and lower end, a
    picture that is too small to be halved at every level.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        channels: Sequence[int] = (64, 128, 256, 512, 1024),
        bilinear: bool = False,
        criterion: Criterion = cross_entropy,
    ) -> None:
        super().__init__()
        self.backbone = None
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.criterion = criterion
        widths = [*channels[:-1], channels[-1] // 2] if bilinear else list(channels)
        self.down = nn.ModuleList(
            nn.Sequential(ConvBNReLU(before, after), ConvBNReLU(after, after))
            for before, after in pairwise((in_channels, *widths))
        )
        self.upsample = nn.ModuleList()
        self.up = nn.ModuleList()
        below = widths[-1]
        for index, skip in reversed(list(enumerate(widths[:-1]))):
            if bilinear:
                # Each level hands half of its channels on; the finest keeps them.
                out = skip // 2 if index > 0 else skip
                self.upsample.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True))
                self.up.append(
                    nn.Sequential(ConvBNReLU(below + skip, skip + below >> 1), ConvBNReLU(skip + below >> 1, out))
                )
            else:
                out = skip
                self.upsample.append(nn.ConvTranspose2d(below, skip, 2, stride=2))
                self.up.append(nn.Sequential(ConvBNReLU(2 * skip, skip), ConvBNReLU(skip, skip)))
            below = out
        self.classify = nn.Conv2d(below, num_classes, 1)

    def contract(self, images: Tensor) -> list[Tensor]:
        """The contracting path's maps, finest first: the skips, and last the coarsest."""
        maps = [self.down[0](images)]
        for level in self.down[1:]:
            pooled = F.max_pool2d(maps[-1], 2)
            first = level.get_submodule("0")
            assert isinstance(first, ConvBNReLU)
            refuse_single_values(first, pooled)
            maps.append(level(pooled))
        return maps

    def forward(self, images: Tensor) -> UNetOutput:
        height, width = images.shape[-2:]
        smallest = 2 ** (len(self.down) - 1)
        if min(height, width) < smallest:
            images = F.pad(images, (0, max(0, smallest - width), 0, max(0, smallest - height)))
        *skips, maps = self.contract(images)
        for upsample, level, skip in zip(self.upsample, self.up, reversed(skips), strict=True):
            maps = upsample(maps)
            missing_rows = skip.shape[-2] - maps.shape[-2]
            missing_columns = skip.shape[-1] - maps.shape[-1]
            if missing_rows or missing_columns:
                left, top = missing_columns // 2, missing_rows // 2
                maps = F.pad(maps, (left, missing_columns - left, top, missing_rows - top))
            maps = level(torch.cat([skip, maps], dim=1))  # skip first: the reverse of the paper's release
        return UNetOutput(self.classify(maps)[..., :height, :width])


class EncoderUNet(UNet):
    """The expanding path on an encoder's feature maps: enlarge (nearest), join the skip, two 3x3 with BN and ReLU.

    channels: of each level of the path, coarse to fine; the last one has no skip when the encoder's finest map is at
    stride 2. The layout is that of segmentation_models.pytorch's Unet.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        channels: Sequence[int] = (256, 128, 64, 32, 16),
        criterion: Criterion = cross_entropy,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_classes = num_classes
        self.in_channels = backbone.in_channels
        self.criterion = criterion
        skips = list(backbone.channels[-2::-1])  # coarse to fine, without the coarsest map itself
        if len(channels) < len(skips):
            raise ValueError(f"{backbone.name} has {len(skips)} skips, channels names {len(channels)} levels only")
        self.up = nn.ModuleList()
        below = backbone.channels[-1]
        for index, width in enumerate(channels):
            skip = skips[index] if index < len(skips) else 0
            self.up.append(nn.Sequential(ConvBNReLU(below + skip, width), ConvBNReLU(width, width)))
            below = width
        self.classify = nn.Conv2d(below, num_classes, 3, padding=1)

    def forward(self, images: Tensor) -> UNetOutput:
        assert self.backbone is not None
        *skips, maps = self.backbone(images)
        for left, level in zip(reversed(range(len(self.up))), self.up, strict=True):
            if skips:
                skip = skips.pop()
                maps = F.interpolate(maps, size=skip.shape[-2:], mode="nearest")
                maps = level(torch.cat([maps, skip], dim=1))
                continue
            # Sides come out as those of the image, halved as often as there are levels left.
            wanted = [full // 2**left for full in images.shape[-2:]]
            size = [_enlarged(side, target) for side, target in zip(maps.shape[-2:], wanted, strict=True)]
            maps = level(F.interpolate(maps, size=size, mode="nearest"))
        return UNetOutput(resize(self.classify(maps), like=images))


def _enlarged(side: int, wanted: int) -> int:
    """`wanted`, when it is about twice the side; else just twice the side, or the side itself if it is no less."""
    return max(side, wanted if wanted <= 2 * side + 1 else 2 * side)
