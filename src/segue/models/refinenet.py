"""RefineNet: Multi-Path Refinement Networks for High-Resolution Semantic Segmentation (Lin et al., CVPR 2017,
arXiv:1611.06612)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segue.backbones import Backbone, TimmOptions
from segue.layers import resize
from segue.losses import cross_entropy
from segue.models.network import Criterion, Network, Paper

PAPER = Paper(
    "RefineNet: Multi-Path Refinement Networks for High-Resolution Semantic Segmentation",
    "Lin et al.",
    "CVPR",
    2017,
    "1611.06612",
)
GROUPS: dict[int, tuple[tuple[int, ...], ...]] = {
    4: ((3,), (2,), (1,), (0,)),
    2: ((3, 2), (1, 0)),
    1: ((3, 2, 1, 0),),
}
"""How many blocks -> the backbone's stages that each takes, coarse to fine (Fig. 2c and 7)."""
UNITS = 3
"""RCUs after chained pooling. The paper counts one as a block's own and two as the next block's, on its coarse input,
or as the classifier's after the last block (Sec. 3.2); the authors' code has all three at the block's end."""


class RefineNetOutput(NamedTuple):
    """What RefineNet computes."""

    logits: Tensor  # (B, K, H, W)


class DepthRefineNetOutput(NamedTuple):
    """What RefineNet with a branch for depth computes."""

    logits: Tensor  # (B, K, H, W), one sigmoid per class, before it
    depth: Tensor  # (B, 1, H, W), in the unit that it was trained with

    @property
    def probabilities(self) -> Tensor:
        """(B, K, H, W): of each class against all others; they do not add up to one."""
        return self.logits.sigmoid()


def _convolution(in_channels: int, out_channels: int, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)


class RCU(nn.Module):
    """Residual convolution unit (Fig. 3b): a ResNet's block without BatchNorm, (B, C, H, W) -> (B, C, H, W).

    rectified_shortcut: add to the rectified input instead of the input, as ports with an in-place ReLU do unawares.
    """

    rectified_shortcut: bool = False

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _convolution(channels, channels, bias=True)
        self.conv2 = _convolution(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        rectified = F.relu(features)
        residual: Tensor = self.conv2(F.relu(self.conv1(rectified)))
        return residual + (rectified if self.rectified_shortcut else features)


class Fusion(nn.Module):
    """Multi-resolution fusion (Fig. 3c): each path through a 3x3, enlarged to the finest one's size, summed.

    [(B, in_channels[i], H_i, W_i), ...], the finest last -> (B, channels, H, W).
    """

    def __init__(self, in_channels: Sequence[int], channels: int, align_corners: bool = True) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList([_convolution(width, channels) for width in in_channels])
        self.align_corners = align_corners

    def forward(self, paths: Sequence[Tensor]) -> Tensor:
        *coarser, fused = (convolve(path) for convolve, path in zip(self.convolutions, paths, strict=True))
        for path in coarser:
            fused = fused + resize(path, like=fused, align_corners=self.align_corners)
        return fused


class CRP(nn.Module):
    """Chained residual pooling (Fig. 3d): each link pools what the one before made, and every link's output is added.

    (B, C, H, W) -> (B, C, H, W). `conv_first`: the order in a link of the code's "improved" pooling, of 2018.
    """

    def __init__(self, channels: int, links: int = 4, conv_first: bool = False) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList([_convolution(channels, channels) for _ in range(links)])
        self.conv_first = conv_first

    def forward(self, features: Tensor) -> Tensor:
        total = link = F.relu(features)  # the sum starts from the rectified features, too
        for convolve in self.convolutions:
            if self.conv_first:
                link = F.max_pool2d(convolve(link), 5, stride=1, padding=2)
            else:
                link = convolve(F.max_pool2d(link, 5, stride=1, padding=2))
            total = total + link
        return total


class Block(nn.Module):
    """One RefineNet block (Fig. 3a): adapt each path, fuse them, pool, refine.

    in_channels, widths: of each of its stages and what they are adapted to, coarse to fine.
    below: channels of the block before it, 0 for the first one.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        widths: Sequence[int],
        below: int,
        channels: int,
        *,
        links: int,
        conv_first: bool,
        output_units: int,
        align_corners: bool,
    ) -> None:
        super().__init__()
        self.adapt = nn.ModuleList(
            nn.Sequential(_convolution(before, width), RCU(width), RCU(width))
            for before, width in zip(in_channels, widths, strict=True)
        )
        self.carry = nn.Sequential(*(RCU(below) for _ in range(UNITS - output_units if below else 0)))
        paths = [below, *widths] if below else list(widths)
        self.channels = channels if len(paths) > 1 else widths[0]  # a lone path keeps its width
        self.fuse = Fusion(paths, channels, align_corners) if len(paths) > 1 else None
        self.pool = CRP(self.channels, links, conv_first)
        self.refine = nn.Sequential(*(RCU(self.channels) for _ in range(output_units)))

    def forward(self, stages: Sequence[Tensor], below: Tensor | None = None) -> Tensor:
        paths = [adapt(stage) for adapt, stage in zip(self.adapt, stages, strict=True)]
        if below is not None:
            paths.insert(0, self.carry(below))
        fused = paths[0] if self.fuse is None else self.fuse(paths)
        refined: Tensor = self.refine(self.pool(fused))
        return refined


class Cascade(nn.Module):
    """The blocks, from the coarsest stage to the finest: [C2, C3, C4, C5] -> every block's output, coarse to fine.

    cascade: how many blocks: 4, 2 or 1 (Sec. 4.4, Fig. 7). channels: of all paths but that of C5, which has twice.
    output_units: of the `UNITS` RCUs that follow a block's pooling, how many it counts as its own.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        cascade: int = 4,
        channels: int = 256,
        crp_links: int = 4,
        conv_first: bool = False,
        output_units: int = UNITS,
        dropout: float = 0.5,
        align_corners: bool = True,
    ) -> None:
        super().__init__()
        if cascade not in GROUPS:
            raise ValueError(f"cascade = {cascade}: RefineNet has 4, 2 or 1 blocks")
        if not 1 <= output_units <= UNITS:
            raise ValueError(f"output_units = {output_units}: a block ends with 1 to {UNITS} RCUs")
        self.groups = GROUPS[cascade]
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList()
        below = 0
        for group in self.groups:
            block = Block(
                [in_channels[stage] for stage in group],
                [2 * channels if stage == 3 else channels for stage in group],
                below,
                channels,
                links=crp_links,
                conv_first=conv_first,
                output_units=output_units,
                align_corners=align_corners,
            )
            self.blocks.append(block)
            below = block.channels
        self.channels = below

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        # The authors' code drops values of the two coarsest stages; the paper does not speak of dropout.
        stages = [*features[:2], *(self.dropout(stage) for stage in features[2:])]
        outputs: list[Tensor] = []
        for group, block in zip(self.groups, self.blocks, strict=True):
            outputs.append(block([stages[stage] for stage in group], outputs[-1] if outputs else None))
        return outputs


def initialise(*parts: nn.Module) -> None:
    """Convolutions of deviation 0.01 and biases of zero, as in the authors' code.

    Nothing normalises the residual sums: with PyTorch's or He's initialisation the first scores are in the thousands.
    """
    for part in parts:
        for layer in part.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


class RefineNet(Network[RefineNetOutput]):
    """A ResNet of stride 32 and a cascade of blocks back to stride 4, where the pixels are classified (Sec. 3.1).

    cascade: blocks: 4, or 2 or 1 for the paper's smaller variants (Fig. 7a and b).
    channels: of the paths; that of the coarsest stage has twice as many.
    crp_links: of chained pooling; 4 in all released networks, 2 in the paper's figure.
    conv_first: the order in each link of the code's "improved" pooling.
    output_units: how many of the three RCUs after chained pooling a block counts as its own; the rest are the next
        block's, or the classifier's. The same numbers; only `refined` differs.
    classifier_kernel: 3 as in the authors' code.
    dropout: on the two coarsest stages and before the classifier.
    align_corners: of every enlargement. The authors' own code enlarges bicubically.
    """

    paper: ClassVar[Paper] = PAPER
    backbone_options = TimmOptions("resnet101")  # at stride 32; the authors' has the Caffe layout, `caffe=True`
    backbone: Backbone

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        cascade: int = 4,
        channels: int = 256,
        crp_links: int = 4,
        conv_first: bool = False,
        output_units: int = UNITS,
        classifier_kernel: int = 3,
        dropout: float = 0.5,
        align_corners: bool = True,
        criterion: Criterion = cross_entropy,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_classes = num_classes
        self.in_channels = backbone.in_channels
        self.cascade = Cascade(
            backbone.channels[-4:],
            cascade=cascade,
            channels=channels,
            crp_links=crp_links,
            conv_first=conv_first,
            output_units=output_units,
            dropout=dropout,
            align_corners=align_corners,
        )
        width = self.cascade.channels
        self.refine = nn.Sequential(*(RCU(width) for _ in range(UNITS - output_units)))
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Conv2d(width, num_classes, classifier_kernel, padding=classifier_kernel // 2)
        self.align_corners = align_corners
        self.criterion = criterion
        initialise(self.cascade, self.refine, self.classify)

    def forward(self, images: Tensor) -> RefineNetOutput:
        scores = self.scores(images).logits
        return RefineNetOutput(resize(scores, like=images, align_corners=self.align_corners))

    def scores(self, images: Tensor) -> RefineNetOutput:
        """The scores of `forward` at stride 4, before they are enlarged."""
        return RefineNetOutput(self.classify(self.dropout(self.refine(self.refined(images)[-1]))))

    def refined(self, images: Tensor) -> list[Tensor]:
        """Each block's output, coarse to fine: RefineNet-4 to RefineNet-1 of a cascade of four."""
        outputs: list[Tensor] = self.cascade(self.backbone(images)[-4:])
        return outputs

    def loss(self, output: RefineNetOutput, target: Tensor) -> dict[str, Tensor]:
        """The criterion of the enlarged scores; the authors' code shrinks the labels to stride 4 instead."""
        return {"logits": self.criterion(output.logits, target)}


def one_versus_rest(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy with the one-hot target, in the mean over pixels and classes; ignored pixels have no class.

    Logits (B, K, H, W), target (B, H, W) int64 -> scalar.
    """
    classes = torch.arange(logits.shape[1], device=target.device)[:, None, None]
    return F.binary_cross_entropy_with_logits(logits.float(), (target[:, None] == classes).float())


class DepthRefineNet(Network[DepthRefineNetOutput]):
    """RefineNet with two branches at the image's size, for classes (a sigmoid each) and for depth.

    The network of markshih91/refinenet_pytorch, from which a tutorial on RefineNet was made; no paper has it. The
    finest block's features are enlarged to the image and each branch ends in two RCUs and a 1x1 convolution there.
    The contract's `loss` knows no depth, so training both branches takes a loop of one's own and `loss_with_depth`;
    that is why the network is no recipe's.
    """

    paper: ClassVar[Paper] = PAPER
    backbone_options = TimmOptions("resnet101")  # at stride 32
    backbone: Backbone

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        channels: int = 256,
        crp_links: int = 4,
        conv_first: bool = False,
        criterion: Criterion = one_versus_rest,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_classes = num_classes
        self.in_channels = backbone.in_channels
        self.cascade = Cascade(
            backbone.channels[-4:],
            channels=channels,
            crp_links=crp_links,
            conv_first=conv_first,
            output_units=1,
            dropout=0.0,
        )
        self.classify = nn.Sequential(RCU(channels), RCU(channels), nn.Conv2d(channels, num_classes, 1))
        self.depth = nn.Sequential(RCU(channels), RCU(channels), nn.Conv2d(channels, 1, 1))
        self.criterion = criterion
        initialise(self.cascade, self.classify, self.depth)

    def forward(self, images: Tensor) -> DepthRefineNetOutput:
        features = resize(self.refined(images)[-1], like=images, align_corners=True)
        return DepthRefineNetOutput(self.classify(features), self.depth(features))

    def refined(self, images: Tensor) -> list[Tensor]:
        """Each block's output, coarse to fine: RefineNet-4 to RefineNet-1."""
        outputs: list[Tensor] = self.cascade(self.backbone(images)[-4:])
        return outputs

    def loss(self, output: DepthRefineNetOutput, target: Tensor) -> dict[str, Tensor]:
        """Half the criterion of the classes; see `loss_with_depth`."""
        return {"logits": 0.5 * self.criterion(output.logits, target)}

    def loss_with_depth(self, output: DepthRefineNetOutput, target: Tensor, depth: Tensor) -> dict[str, Tensor]:
        """The classes' term and half the mean squared error of a depth map (B, 1, H, W)."""
        return self.loss(output, target) | {"depth": 0.5 * F.mse_loss(output.depth.float(), depth)}
