"""DFN: Learning a Discriminative Feature Network for Semantic Segmentation (Yu et al., CVPR 2018, arXiv:1804.09337)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from segue.backbones import Backbone, TimmOptions
from segue.labels import IGNORE
from segue.layers import ImagePooling, resize
from segue.losses import binary_focal, cross_entropy
from segue.models.borders import border_labels
from segue.models.network import Criterion, Network, Paper

PAPER = Paper(
    "Learning a Discriminative Feature Network for Semantic Segmentation", "Yu et al.", "CVPR", 2018, "1804.09337"
)


class DFNOutput(NamedTuple):
    """What DFN computes; only the loss reads `stages` and `borders`."""

    logits: Tensor  # (B, K, H, W), of stage 2, the finest
    stages: tuple[Tensor, ...] | None  # three of (B, K, H, W), of stages 5, 4, 3: deep supervision
    borders: tuple[Tensor, ...] | None  # four of (B, 1, H, W), from stage 2 alone to the sum over stages 2 to 5
    gates: tuple[Tensor, ...]  # four of (B, channels) in 0..1, the attention vectors of stages 5, 4, 3, 2 (Fig. 4b)


class NarrowDFNOutput(NamedTuple):
    """What the narrow DFN computes; only the loss reads `border`."""

    logits: Tensor  # (B, K, H, W)
    border: Tensor | None  # (B, K, H, W), one map per class


class RRB(nn.Module):
    """Refinement residual block (Fig. 3a): a 1x1 to the wanted channels, and a residual pair of 3x3 on it.

    (B, in_channels, H, W) -> (B, channels, H, W). rectify: the ReLU at the end, which the heads leave out.
    """

    def __init__(self, in_channels: int, channels: int, *, bias: bool = False, rectify: bool = True) -> None:
        super().__init__()
        self.unify = nn.Conv2d(in_channels, channels, 1, bias=bias)
        self.residual = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=bias),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=bias),
        )
        self.rectify = nn.ReLU() if rectify else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        unified = self.unify(features)
        out: Tensor = self.rectify(unified + self.residual(unified))
        return out


class CAB(nn.Module):
    """Channel attention block (Fig. 3b): this stage and the coarser one say which of this stage's channels count.

    low, high (B, channels, H, W), of this stage and from the coarser one -> (B, channels, H, W), and the attention
    vector (B, channels) in 0..1. Only `low` is gated; `high` is added as it is.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attend = nn.Sequential(
            nn.Linear(2 * channels, channels), nn.ReLU(inplace=True), nn.Linear(channels, channels), nn.Sigmoid()
        )

    def forward(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        gate = self.attend(torch.cat([low, high], dim=1).mean(dim=(-2, -1)))
        return gate[..., None, None] * low + high, gate


class SmoothNetwork(nn.Module):
    """From the coarsest stage to the finest, starting from a global context (Sec. 3.1): the same within a class.

    [C2, C3, C4, C5] -> (features of stages 5, 4, 3, 2, each (B, channels, H_i, W_i); their gates).
    context: C5 -> (B, channels, H_5, W_5), what stage 5 takes for its coarser stage.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        context: nn.Module,
        *,
        bias: bool = False,
        align_corners: bool = True,
    ) -> None:
        super().__init__()
        self.context = context
        self.before = nn.ModuleList([RRB(width, channels, bias=bias) for width in reversed(in_channels)])
        self.attention = nn.ModuleList([CAB(channels) for _ in in_channels])
        self.after = nn.ModuleList([RRB(channels, channels, bias=bias) for _ in in_channels])
        self.align_corners = align_corners

    def forward(self, stages: Sequence[Tensor]) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        features, gates = [], []
        last = self.context(stages[-1])
        blocks = zip(reversed(stages), self.before, self.attention, self.after, strict=True)
        for stage, before, attention, after in blocks:
            low = before(stage)
            fused, gate = attention(low, resize(last, like=low, align_corners=self.align_corners))
            last = after(fused)
            features.append(last)
            gates.append(gate)
        return features, tuple(gates)


class BorderNetwork(nn.Module):
    """From the finest stage to the coarsest, at the finest one's size (Sec. 3.2): different between classes.

    [C2, C3, C4, C5] -> four of (B, channels, H_2, W_2): stage 2 alone, and with each further stage added.
    """

    def __init__(
        self, in_channels: Sequence[int], channels: int, *, bias: bool = False, align_corners: bool = True
    ) -> None:
        super().__init__()
        self.before = nn.ModuleList([RRB(width, channels, bias=bias) for width in in_channels])
        self.after = nn.ModuleList([RRB(channels, channels, bias=bias) for _ in in_channels[1:]])
        self.align_corners = align_corners

    def forward(self, stages: Sequence[Tensor]) -> list[Tensor]:
        finest, *coarser = (before(stage) for before, stage in zip(self.before, stages, strict=True))
        sums = [finest]
        for after, stage in zip(self.after, coarser, strict=True):
            sums.append(after(sums[-1] + resize(stage, like=finest, align_corners=self.align_corners)))
        return sums


class Head(nn.Sequential):
    """An RRB to nine channels per map, without its last ReLU, and a 1x1 classifier."""

    def __init__(self, in_channels: int, maps: int) -> None:
        super().__init__(RRB(in_channels, 9 * maps, rectify=False), nn.Conv2d(9 * maps, maps, 1))


def initialise(*parts: nn.Module) -> None:
    """He's initialisation of convolutions, as in the authors' code; biases and linear layers keep PyTorch's."""
    for part in parts:
        for layer in part.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")


class DFN(Network[DFNOutput]):
    """A ResNet of stride 32, a Smooth Network supervised at every stage, and in training a Border Network (Fig. 2).

    channels: of the Smooth Network. border_channels: of the Border Network, whatever the number of classes.
    border: weight of the border loss, the paper's lambda. alpha, gamma: of its focal loss.
    void_borders: count ignored pixels as class 0 in the border labels, as the authors' code does, which then has
        borders around void and pixels of void in the border loss. Without it, void is left out there, and so are
        borders beside it. Where void is the line drawn around objects, as in PASCAL VOC, all of their borders are
        beside it, and only with `void_borders` does the Border Network learn from them.
    """

    paper: ClassVar[Paper] = PAPER
    backbone_options = TimmOptions("resnet101s")  # at stride 32; the authors' stem of three 3x3, 64, 64, 128 wide
    backbone: Backbone

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        channels: int = 512,
        border_channels: int = 21,
        border: float = 0.1,
        alpha: float = 0.25,
        gamma: float = 2.0,
        void_borders: bool = False,
        criterion: Criterion = cross_entropy,
    ) -> None:
        super().__init__()
        widths = backbone.channels[-4:]
        self.backbone = backbone
        self.num_classes = num_classes
        self.in_channels = backbone.in_channels
        self.smooth = SmoothNetwork(widths, channels, ImagePooling(widths[-1], channels))
        self.smooth_heads = nn.ModuleList([Head(channels, num_classes) for _ in widths])
        self.border = BorderNetwork(widths, border_channels)
        self.border_heads = nn.ModuleList([Head(border_channels, 1) for _ in widths])
        self.border_weight = border
        self.alpha = alpha
        self.gamma = gamma
        self.void_borders = void_borders
        self.criterion = criterion
        initialise(self.smooth, self.smooth_heads, self.border, self.border_heads)

    def forward(self, images: Tensor) -> DFNOutput:
        def enlarge(maps: Tensor) -> Tensor:
            return resize(maps, like=images, align_corners=True)

        logits, stages, borders, gates = self.scores(images)
        return DFNOutput(
            enlarge(logits),
            None if stages is None else tuple(enlarge(maps) for maps in stages),
            None if borders is None else tuple(enlarge(maps) for maps in borders),
            gates,
        )

    def scores(self, images: Tensor) -> DFNOutput:
        """The maps of `forward` before they are enlarged: `stages` at strides 32, 16, 8, the others at 4."""
        stages = self.backbone(images)[-4:]
        features, gates = self.smooth(stages)
        logits = self.smooth_heads[-1](features[-1])
        if not (self.training or self.all_outputs):
            return DFNOutput(logits, None, None, gates)
        coarser = zip(self.smooth_heads[:-1], features[:-1], strict=True)
        sums = zip(self.border_heads, self.border(stages), strict=True)
        return DFNOutput(
            logits, tuple(head(maps) for head, maps in coarser), tuple(head(maps) for head, maps in sums), gates
        )

    def loss(self, output: DFNOutput, target: Tensor) -> dict[str, Tensor]:
        """The criterion at each stage, and the border loss with labels made from the target (Sec. 3.2 and 3.3)."""
        terms = {"logits": self.criterion(output.logits, target)}
        if output.stages is not None:
            for stage, logits in zip((5, 4, 3), output.stages, strict=True):
                terms[f"stage{stage}"] = self.criterion(logits, target)
        if output.borders is not None:
            labels = border_labels(target, self.num_classes, void_borders=self.void_borders)
            terms["border"] = self.border_loss(output.borders, labels)
        return terms

    def border_loss(self, borders: Sequence[Tensor], labels: Tensor) -> Tensor:
        """The sum of the border maps' focal losses, weighted; labels (B, H, W): 1 on borders, else 0, or `IGNORE`."""
        focal = [binary_focal(maps[:, 0], labels, alpha=self.alpha, gamma=self.gamma) for maps in borders]
        return self.border_weight * torch.stack(focal).sum()


class PooledConvolution(nn.Module):
    """A 1x1 convolution of the global average, spread over the map again: the context of the narrow form."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(in_channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        context: Tensor = self.project(features.mean(dim=(-2, -1), keepdim=True))
        return context.expand(-1, -1, features.shape[-2], features.shape[-1])


class NarrowDFN(Network[NarrowDFNOutput]):
    """DFN with as many channels as classes everywhere, no heads, and a border map of each class.

    The form of lxtGH/dfn_seg, which a tutorial on DFN prints. That code has no losses; here they are DFN's, with each
    class's part of the border labels for its border map: those pixels of a border that are of the class themselves.
    """

    paper: ClassVar[Paper] = PAPER
    backbone_options = TimmOptions("resnet101s")  # at stride 32; the authors' stem of three 3x3, 64, 64, 128 wide
    backbone: Backbone

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        border: float = 0.1,
        void_borders: bool = False,
        criterion: Criterion = cross_entropy,
    ) -> None:
        super().__init__()
        widths = backbone.channels[-4:]
        self.backbone = backbone
        self.num_classes = num_classes
        self.in_channels = backbone.in_channels
        context = PooledConvolution(widths[-1], num_classes)
        self.smooth = SmoothNetwork(widths, num_classes, context, bias=True, align_corners=False)
        self.border = BorderNetwork(widths, num_classes, bias=True, align_corners=False)
        self.border_weight = border
        self.void_borders = void_borders
        self.criterion = criterion
        initialise(self.smooth, self.border)

    def forward(self, images: Tensor) -> NarrowDFNOutput:
        logits, border = self.scores(images)
        return NarrowDFNOutput(resize(logits, like=images), None if border is None else resize(border, like=images))

    def scores(self, images: Tensor) -> NarrowDFNOutput:
        """The maps of `forward` at stride 4, before they are enlarged."""
        stages = self.backbone(images)[-4:]
        features, _ = self.smooth(stages)
        border = self.border(stages)[-1] if self.training or self.all_outputs else None
        return NarrowDFNOutput(features[-1], border)

    def loss(self, output: NarrowDFNOutput, target: Tensor) -> dict[str, Tensor]:
        """The criterion of the logits, and `border` times the focal loss of the classes' border maps."""
        terms = {"logits": self.criterion(output.logits, target)}
        if output.border is not None:
            borders = border_labels(target, self.num_classes, void_borders=self.void_borders)[:, None]
            classes = torch.arange(self.num_classes, device=target.device)[:, None, None]
            of_class = borders.where((borders == IGNORE) | (target[:, None] == classes), 0)
            terms["border"] = self.border_weight * binary_focal(output.border, of_class)
        return terms
