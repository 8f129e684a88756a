"""MCIBI++: Soft Mining Contextual Information Beyond Image (Jin et al., TPAMI 2023, arXiv:2209.04471).

The memory holds two numbers per class, not a vector: mean and deviation of the class's mean feature over its channels.
A class's vector is drawn from that normal distribution, the same one every time. Checkpoints of its authors make this
network (`segue.convert`); it is no recipe's.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from segue.backbones import Backbone, TimmOptions
from segue.layers import ContextAttention, ConvBNReLU, resize
from segue.layers.class_sums import class_sums
from segue.losses import cross_entropy
from segue.models.mcibi import BeyondImage, Context, classifier, over_processes
from segue.models.network import Criterion, Network, Paper, Progress


class MCIBIPlusPlusOutput(NamedTuple):
    """What MCIBI++ computes; all but `logits` is read by the loss or the memory only."""

    logits: Tensor  # (B, K, H, W)
    first: Tensor | None  # (B, K, H, W), from the pixels' features alone
    within: Tensor | None  # (B, K, H, W), from the context within the image; None where that has no classifier
    auxiliary: Tensor | None  # (B, K, H, W), from the third stage
    features: Tensor | None  # (B, C, H / 8, W / 8): what the memory learns from


class MomentMemory(nn.Module):
    """Mean and deviation of each class's mean feature over its channels, and vectors drawn from them."""

    moments: Tensor  # (K, 2) float32, at first 0 and 1
    noise: Tensor  # (K, C): each class's draw from the standard normal distribution

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("moments", torch.tensor([[0.0, 1.0]]).repeat(num_classes, 1))
        # The authors seed the global generator with the class's number, in every forward pass: these are its numbers.
        draws = [torch.randn(channels, generator=torch.Generator().manual_seed(k)) for k in range(num_classes)]
        self.register_buffer("noise", torch.stack(draws), persistent=False)

    def rows(self) -> Tensor:
        """(K, C): a vector per class."""
        return self.noise * self.moments[:, 1:] + self.moments[:, :1]

    @torch.no_grad()
    def update(self, features: Tensor, target: Tensor, momentum: float, align_corners: bool = False) -> None:
        """Move the moments of the classes in `target` towards those of their pixels' mean feature.

        features: (B, C, h, w), as if enlarged bilinearly to target, (B, H, W) int64.
        """
        with torch.autocast(features.device.type, enabled=False):
            found = over_processes(class_sums(features, target, len(self.moments), align_corners=align_corners))
            seen = found.counts > 0
            means = found.sums / found.weights.where(seen, 1)[:, None]
            moved = torch.stack([means.mean(dim=1), means.std(dim=1)], dim=1)
            self.moments.copy_(
                torch.where(seen[:, None], (1 - momentum) * self.moments + momentum * moved, self.moments)
            )


class ShrunkAttention(nn.Module):
    """A `ContextAttention` of both maps at half their size, by one convolution, whose result is enlarged again."""

    def __init__(self, channels: int, transform_channels: int, align_corners: bool) -> None:
        super().__init__()
        self.shrink = ConvBNReLU(channels, channels, 3, stride=2)
        self.attention = ContextAttention(channels, transform_channels)
        self.align_corners = align_corners

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        gathered = self.attention(self.shrink(queries), self.shrink(keys))
        return resize(gathered, like=queries, align_corners=self.align_corners)


class MCIBIPlusPlus(Network[MCIBIPlusPlusOutput]):
    """A dilated ResNet, what the memory knows of a pixel's likely classes, any context within the image, a classifier.

    within: the context, `channels` wide; None for none. classify_within: whether it has a classifier, whose scores then
        choose from the memory instead of those of the features, unless `choose_by_first`.
    shrink: the attention over what the memory holds works at half the size.
    attend: an attention of the context over what the memory gave.
    pyramid: channels of a feature pyramid's laterals and of its outputs, under both joined; None for no pyramid.
    late_memory: the pyramid stands under the context alone, and what the memory gave joins its outputs.
    kernel, classifier_channels: of the last classifier's convolution.
    momentum: of the memory, whatever the learning rate; with `momentum_lr`, at that rate, which it then follows.
    align_corners: of every enlargement but a context's own, for the memory too.
    auxiliary: weight of the auxiliary head's loss, 0 for no such head; alpha: of the first classifier's.
    """

    paper: ClassVar[Paper] = Paper(
        "MCIBI++: Soft Mining Contextual Information Beyond Image for Semantic Segmentation",
        "Jin et al.",
        "TPAMI",
        2023,
        "2209.04471",
    )
    backbone_options = TimmOptions("resnet50c", output_stride=8)
    backbone: Backbone

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        within: Context | None = None,
        *,
        channels: int = 512,
        transform_channels: int = 256,
        classify_within: bool = True,
        choose_by_first: bool = False,
        shrink: bool = False,
        attend: bool = False,
        pyramid: tuple[int, int] | None = None,
        late_memory: bool = False,
        kernel: int = 1,
        classifier_channels: int = 512,
        dropout: float = 0.1,
        alpha: float = 0.4,
        auxiliary: float = 0.4,
        auxiliary_channels: int = 512,
        momentum: float = 0.1,
        momentum_lr: float | None = None,
        hard: bool = False,
        align_corners: bool = False,
        criterion: Criterion = cross_entropy,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_classes = num_classes
        self.in_channels = backbone.in_channels
        self.bottleneck = ConvBNReLU(backbone.channels[-1], channels, 3)
        self.memory = MomentMemory(num_classes, channels)
        self.beyond = BeyondImage(channels, transform_channels, hard=hard)
        if shrink:
            self.beyond.refine = ShrunkAttention(channels, transform_channels, align_corners)
        self.within = within
        self.attend = ContextAttention(channels, channels // 2) if within is not None and attend else None
        self.classify_first = classifier(channels, num_classes, channels, 1, dropout)
        self.classify_within = (
            classifier(channels, num_classes, channels, 1, dropout) if within is not None and classify_within else None
        )
        joined = channels if within is None else 2 * channels
        self.lateral, self.smooth = nn.ModuleList(), nn.ModuleList()
        if pyramid is not None:
            lateral, out = pyramid
            finer = backbone.channels[-4:-1]
            self.lateral.extend(ConvBNReLU(width, lateral, 1) for width in finer)
            self.smooth.extend(ConvBNReLU(lateral, out, 3) for _ in finer)
            joined += len(finer) * out
        self.classify = classifier(joined, num_classes, classifier_channels, kernel, dropout)
        self.auxiliary = (
            classifier(backbone.channels[-2], num_classes, auxiliary_channels, 3, dropout) if auxiliary > 0 else None
        )
        self.alpha = alpha
        self.auxiliary_weight = auxiliary
        self.choose_by_first = choose_by_first
        self.late_memory = late_memory
        self.momentum = momentum
        self.momentum_lr = momentum_lr
        self.align_corners = align_corners
        self.criterion = criterion

    def scores(self, images: Tensor) -> MCIBIPlusPlusOutput:
        """What `forward` enlarges: the same maps at their own strides."""
        maps = self.backbone(images)
        features = self.bottleneck(maps[-1])
        first = self.classify_first(features)
        context = None if self.within is None else self.within(maps, None)
        within = None if self.classify_within is None else self.classify_within(context)
        chosen_by = first if within is None or self.choose_by_first else within
        found = self.beyond(features, chosen_by, self.memory.rows())
        if context is not None and self.attend is not None:
            found = self.attend(context, found)
        if context is not None and self.late_memory:
            down = self._down(context, maps[-4:-1])
            found = torch.cat([down, resize(found, like=down, align_corners=self.align_corners)], dim=1)
        else:
            if context is not None:
                found = torch.cat([found, context], dim=1)
            if self.lateral:
                found = self._down(found, maps[-4:-1])
        auxiliary = None
        if self.auxiliary is not None and (self.training or self.all_outputs):
            auxiliary = self.auxiliary(maps[-2])
        return MCIBIPlusPlusOutput(self.classify(found), first, within, auxiliary, features)

    def _down(self, above: Tensor, finer: list[Tensor]) -> Tensor:
        """The feature pyramid: what is above is added to the finer stages in turn; all of them at the finest's size."""
        levels = [above]
        for lateral, maps in zip(reversed(self.lateral), reversed(finer), strict=True):
            side = lateral(maps)
            levels.insert(0, side + resize(levels[0], like=side, align_corners=self.align_corners))
        smooth = [convolve(level) for convolve, level in zip(self.smooth, levels[:-1], strict=True)]
        enlarged = [resize(one, like=smooth[0], align_corners=self.align_corners) for one in (*smooth, above)]
        return torch.cat(enlarged, dim=1)

    def forward(self, images: Tensor) -> MCIBIPlusPlusOutput:
        logits, *others, features = self.scores(images)
        enlarged = resize(logits, like=images, align_corners=self.align_corners)
        if not (self.training or self.all_outputs):
            return MCIBIPlusPlusOutput(enlarged, None, None, None, None)
        first, within, auxiliary = (
            None if maps is None else resize(maps, like=images, align_corners=self.align_corners) for maps in others
        )
        return MCIBIPlusPlusOutput(enlarged, first, within, auxiliary, features)

    def observe(self, output: MCIBIPlusPlusOutput, target: Tensor, progress: Progress) -> None:
        """The memory learns from this iteration's features."""
        assert output.features is not None
        momentum = self.momentum if self.momentum_lr is None else self.momentum * progress.lr / self.momentum_lr
        self.memory.update(output.features.detach(), target, momentum, self.align_corners)

    def remembered(self) -> dict[str, Tensor]:
        """The moments (K, 2): how they drift over training."""
        return {"memory": self.memory.moments}

    def loss(self, output: MCIBIPlusPlusOutput, target: Tensor) -> dict[str, Tensor]:
        """The criterion of each enlarged map, weighted; the context's counts in full."""
        terms = {"logits": self.criterion(output.logits, target)}
        if output.first is not None:
            terms["first"] = self.alpha * self.criterion(output.first, target)
        if output.within is not None:
            terms["within"] = self.criterion(output.within, target)
        if output.auxiliary is not None:
            terms["auxiliary"] = self.auxiliary_weight * self.criterion(output.auxiliary, target)
        return terms
