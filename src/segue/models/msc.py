"""Multi-scale inputs with max fusion (DeepLabv2, arXiv:1606.00915, Sec. 3.2; Chen et al., CVPR 2016, arXiv:1511.03339).

The same network looks at the picture at several scales, and each place keeps each class's highest score. It is a
network around a network: any one of this package will do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segue.labels import IGNORE
from segue.layers import AlignedAreas, AlignedCorners, Alignment, resize
from segue.losses import cross_entropy
from segue.models.deeplabv2 import DeepLabV2
from segue.models.network import Criterion, Network, Paper, keyword_kinds, keywords


class MSCOutput(NamedTuple):
    """What the network around a network computes; the loss reads the coarse maps."""

    logits: Tensor  # (B, K, H, W), from `fused`
    fused: Tensor  # (B, K, h, w), the maximum over all scales, of the size of the full picture's scores
    full: Tensor  # (B, K, h, w), the full picture's scores
    scaled: tuple[Tensor, ...]  # (B, K, h', w') each, the smaller pictures' scores at their own sizes


class Rule(ABC):
    """How pictures are shrunk, their scores brought back, and labels given to them."""

    alignment: Alignment

    @abstractmethod
    def fill_up(self, sides: tuple[int, int]) -> tuple[int, int]:
        """The sides at or above these at which every scale works out."""

    @abstractmethod
    def shrink(self, images: Tensor, scale: float) -> Tensor:
        """(B, C, H, W) -> about (B, C, scale * H, scale * W)."""

    @abstractmethod
    def restore(self, scores: Tensor, scale: float, like: Tensor) -> Tensor:
        """A smaller picture's scores at the size of `like`, the full picture's."""

    @abstractmethod
    def supervised(self, scores: Tensor, scale: float, like: Tensor, stride: int) -> tuple[Tensor, int]:
        """The map of a smaller picture that the loss compares with labels, and its stride in the full picture."""


class AreaRule(Rule):
    """Areas are aligned, at any size: the PyTorch rendering by kazuto1011, and the default.

    Pictures shrink by exactly `scale` and lose a fraction of a pixel at the bottom and right; each map is trained at
    its own size.
    """

    alignment = AlignedAreas()

    def fill_up(self, sides: tuple[int, int]) -> tuple[int, int]:
        return max(sides[0], 8), max(sides[1], 8)  # something is left at a scale of 1 / 8

    def shrink(self, images: Tensor, scale: float) -> Tensor:
        return F.interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)

    def restore(self, scores: Tensor, scale: float, like: Tensor) -> Tensor:
        return resize(scores, like=like)

    def supervised(self, scores: Tensor, scale: float, like: Tensor, stride: int) -> tuple[Tensor, int]:
        return scores, stride  # the stride does not matter to areas


class CornerRule(Rule):
    """Corners are aligned, as the authors do in Caffe: at a scale of p / q, n pixels become p (n - 1) / q + 1.

    It is exact at sides of 32 k + 1, so pictures are filled up to such with zeros (the mean colour), again as the
    authors do. A map of scale 1 / q is trained with every 8 q-th pixel's label; the cells of scale 3 / 4 fall between
    pixels, so that map is enlarged first.

    multiple: the stride of the score map times the least common multiple of all q.
    """

    alignment = AlignedCorners()

    def __init__(self, multiple: int = 32) -> None:
        self.multiple = multiple

    def fill_up(self, sides: tuple[int, int]) -> tuple[int, int]:
        height, width = (max(-(-(side - 1) // self.multiple), 1) * self.multiple + 1 for side in sides)
        return height, width

    def shrink(self, images: Tensor, scale: float) -> Tensor:
        p, q = _fraction(scale)
        height, width = ((side - 1) // q * p + 1 for side in images.shape[-2:])
        return resize(images, (height, width), align_corners=True)

    def restore(self, scores: Tensor, scale: float, like: Tensor) -> Tensor:
        p, q = _fraction(scale)
        height, width = ((side - 1) // p * q + 1 for side in scores.shape[-2:])
        return resize(scores, (height, width), align_corners=True)

    def supervised(self, scores: Tensor, scale: float, like: Tensor, stride: int) -> tuple[Tensor, int]:
        p, q = _fraction(scale)
        if p == 1:
            return scores, stride * q
        return self.restore(scores, scale, like), stride


def _fraction(scale: float) -> tuple[int, int]:
    fraction = Fraction(scale).limit_denominator(16)
    return fraction.numerator, fraction.denominator


class MultiScale(Network[MSCOutput]):
    """The same network at several scales, and the highest score of each class at each place.

    network: any. scales: below 1, beside the full picture.
    rule: how sizes are matched; AreaRule() or, as the authors do, CornerRule().
    stride: of the network's own score maps; only CornerRule asks for it.
    """

    paper: ClassVar[Paper] = DeepLabV2.paper

    def __init__(
        self,
        network: Network[Any],
        *,
        scales: Sequence[float] = (0.5, 0.75),
        rule: Rule | None = None,
        stride: int = 8,
        criterion: Criterion = cross_entropy,
    ) -> None:
        super().__init__()
        self.network = network
        self.num_classes = network.num_classes
        self.in_channels = network.in_channels
        self.scales = tuple(scales)
        self.rule = rule or AreaRule()
        self.stride = stride
        self.criterion = criterion

    @property
    def backbone(self) -> nn.Module | None:  # type: ignore[override]  # it is held once, by the network inside
        return self.network.backbone

    @classmethod
    def build(
        cls,
        num_classes: int,
        *,
        in_channels: int = 3,
        scales: Sequence[float] = (0.5, 0.75),
        corners: bool = False,
        criterion: Criterion = cross_entropy,
        **options: Any,
    ) -> Self:
        """The paper's best network: DeepLabv2, by its own options, at three scales.

        With corners aligned, scales are in quarters.
        """
        network = DeepLabV2.build(num_classes, in_channels=in_channels, corners=corners, criterion=criterion, **options)
        rule = CornerRule() if corners else AreaRule()
        return cls(network, scales=scales, rule=rule, stride=network.stride, criterion=criterion)

    @classmethod
    def options(cls) -> dict[str, Any]:
        return DeepLabV2.options() | keywords(cls.build)

    @classmethod
    def kinds(cls) -> dict[str, Any]:
        return DeepLabV2.kinds() | keyword_kinds(cls.build)

    def scores(self, images: Tensor) -> MSCOutput:
        """The same maps, with `fused` in place of the enlarged logits."""
        height, width = images.shape[-2:]
        rows, columns = self.rule.fill_up((height, width))
        images = F.pad(images, (0, columns - width, 0, rows - height))
        full: Tensor = self.network.scores(images).logits
        scaled = [self.network.scores(self.rule.shrink(images, scale)).logits for scale in self.scales]
        fused = full
        for scale, scores in zip(self.scales, scaled, strict=True):
            fused = torch.maximum(fused, self.rule.restore(scores, scale, like=full))
        return MSCOutput(fused, fused, full, tuple(scaled))

    def forward(self, images: Tensor) -> MSCOutput:
        output = self.scores(images)
        height, width = images.shape[-2:]
        filled_up = images.new_empty(self.rule.fill_up((height, width)))
        logits = self.rule.alignment.enlarge(output.fused, filled_up, self.stride)
        return output._replace(logits=logits[..., :height, :width])

    def loss(self, output: MSCOutput, target: Tensor) -> dict[str, Tensor]:
        """The criterion of the fused map, of the full picture's and of every scale's, equally weighted (Sec. 4.1.2)."""
        rows, columns = self.rule.fill_up((target.shape[-2], target.shape[-1]))
        target = F.pad(target, (0, columns - target.shape[-1], 0, rows - target.shape[-2]), value=IGNORE)
        maps = {"logits": (output.fused, self.stride), "full": (output.full, self.stride)}
        for scale, scores in zip(self.scales, output.scaled, strict=True):
            maps[f"scale_{scale:g}"] = self.rule.supervised(scores, scale, output.full, self.stride)
        return {
            name: self.criterion(scores, self.rule.alignment.labels(target, scores, stride))
            for name, (scores, stride) in maps.items()
        }
