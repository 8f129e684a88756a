"""MCIBI: Mining Contextual Information Beyond Image (Jin et al., ICCV 2021, arXiv:2108.11819).

A memory holds one vector per class, gathered over the whole training set. Each pixel takes from it what its own first
segmentation says that it is, beside what it takes from its image by any of the usual context modules.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from segue.backbones import Backbone, TimmOptions
from segue.layers import ASPP, PPM, ContextAttention, ConvBNReLU, FusedPyramid, ObjectContext, resize
from segue.layers.class_sums import ClassSums, class_sums
from segue.losses import cross_entropy
from segue.models.network import Criterion, Network, Paper, Progress


class MCIBIOutput(NamedTuple):
    """What MCIBI computes."""

    logits: Tensor  # (B, K, H, W), O
    first: Tensor | None  # (B, K, H, W), W: the first segmentation; enlarged for the loss alone
    auxiliary: Tensor | None  # (B, K, H, W), from the third stage; only the loss reads it
    features: Tensor | None  # (B, C, H / 8, W / 8), R: what the memory learns from


class ClassMemory(nn.Module):
    """The feature memory M: a vector per class, zero until the class was seen.

    cosine: pixels that are unlike the memory weigh more when it moves towards them; otherwise all weigh the same.
    """

    rows: Tensor  # (K, C) float32: part of every checkpoint, but nothing that an optimiser moves

    def __init__(self, num_classes: int, channels: int, *, cosine: bool = True) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(num_classes, channels))
        self.cosine = cosine

    @torch.no_grad()
    def update(self, features: Tensor, target: Tensor, momentum: float, align_corners: bool = False) -> None:
        """Move the rows of the classes in `target` towards their pixels' features, by `momentum`.

        features: (B, C, h, w), as if enlarged bilinearly to target, (B, H, W) int64. A class that was never seen takes
        the plain mean. Computed in float32, also under autocast. With several processes all of them have to call it:
        sums are taken over all of their pictures, so each ends with the memory that one process would have. (The
        authors' code averages the processes' memories instead, which thins out what only some of them saw.)
        """
        with torch.autocast(features.device.type, enabled=False):
            rows = self.rows.float()
            weighing = rows if self.cosine else None
            found = over_processes(class_sums(features, target, len(rows), weighing, align_corners=align_corners))
            # Every pixel may be exactly like the memory: then nothing is to be learnt.
            means = found.sums / found.weights.where(found.weights > 0, 1)[:, None]
            learnable = (found.counts > 0) & (found.weights > 0)
            unseen = (rows == 0).all(dim=1)
            moved = torch.where(unseen[:, None], means, (1 - momentum) * rows + momentum * means)
            self.rows.copy_(torch.where(learnable[:, None], moved, rows))


def over_processes(found: ClassSums) -> ClassSums:
    """The sums of all processes, on each of them."""
    if not (dist.is_available() and dist.is_initialized()):
        return found
    packed = torch.cat([found.sums, found.weights[:, None], found.counts[:, None]], dim=1)
    dist.all_reduce(packed)
    return ClassSums(packed[:, :-2], packed[:, -2], packed[:, -1])


class BeyondImage(nn.Module):
    """C_bi: what the memory holds for a pixel's likely classes, refined by attention and joined with its features.

    (R (B, C, H, W), scores of the first segmentation (B, K, H, W), rows (K, C)) -> (B, C, H, W).
    hard: only the most likely class's row, instead of all rows weighted by their probabilities.
    """

    def __init__(self, channels: int, transform_channels: int, *, hard: bool = False) -> None:
        super().__init__()
        self.refine: nn.Module = ContextAttention(channels, transform_channels)
        self.fuse = ConvBNReLU(2 * channels, channels, 3)
        self.hard = hard

    def forward(self, features: Tensor, first: Tensor, rows: Tensor) -> Tensor:
        share = first.softmax(dim=1)  # (B, K, H, W)
        if self.hard:
            share = torch.zeros_like(share).scatter(1, share.argmax(dim=1, keepdim=True), 1.0)
        mixed = rows.to(share).T @ share.flatten(2)  # C'_bi: (B, C, N)
        refined = self.refine(features, mixed.unflatten(2, (features.shape[-2], features.shape[-1])).to(features))
        fused: Tensor = self.fuse(torch.cat([features, refined], dim=1))
        return fused


class Context(nn.Module, ABC):
    """C_wi: the context within the image, a module of another paper.

    reads_regions: whether it needs the auxiliary head's scores.
    """

    reads_regions: ClassVar[bool] = False

    @abstractmethod
    def forward(self, features: list[Tensor], regions: Tensor | None) -> Tensor:
        """(the backbone's maps, finest first; auxiliary scores (B, K, H', W')) -> (B, channels, H / 8, W / 8)."""


class PPMContext(Context):
    """PSPNet's pyramid pooling on the last map."""

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        bins: Sequence[int] = (1, 2, 3, 6),
        *,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.ppm = PPM(in_channels[-1], channels, bins, align_corners=align_corners)

    def forward(self, features: list[Tensor], regions: Tensor | None) -> Tensor:
        context: Tensor = self.ppm(features[-1])
        return context


class ASPPContext(Context):
    """DeepLabv3's ASPP on the last map, with a 3x3 projection."""

    def __init__(self, in_channels: Sequence[int], channels: int, rates: Sequence[int] = (12, 24, 36)) -> None:
        super().__init__()
        self.aspp = ASPP(in_channels[-1], channels, rates, project_kernel=3)

    def forward(self, features: list[Tensor], regions: Tensor | None) -> Tensor:
        context: Tensor = self.aspp(features[-1])
        return context


class OCRContext(Context):
    """OCRNet's object context on the last map, its regions those of the auxiliary head."""

    reads_regions: ClassVar[bool] = True

    def __init__(self, in_channels: Sequence[int], channels: int, transform_channels: int = 256) -> None:
        super().__init__()
        self.bottleneck = ConvBNReLU(in_channels[-1], channels, 3)
        self.object_context = ObjectContext(channels, transform_channels, fuse_kernel=3)

    def forward(self, features: list[Tensor], regions: Tensor | None) -> Tensor:
        assert regions is not None
        pixels = self.bottleneck(features[-1])
        context: Tensor = self.object_context(pixels, resize(regions, like=pixels))
        return context


class UPerContext(Context):
    """UPerNet's pyramid on the maps of all four stages, shrunk to the last one's size."""

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.pyramid = FusedPyramid(in_channels[-4:], channels)

    def forward(self, features: list[Tensor], regions: Tensor | None) -> Tensor:
        return resize(self.pyramid(features[-4:]), like=features[-1])


CONTEXTS: dict[str, Callable[[Sequence[int], int], Context | None]] = {
    "none": lambda in_channels, channels: None,
    "ppm": PPMContext,
    "aspp": ASPPContext,
    "ocr": OCRContext,
    "upernet": UPerContext,
}
"""name -> (channels of the backbone's maps, channels of the context) -> the context within the image."""


class MCIBI(Network[MCIBIOutput]):
    """A dilated ResNet, the context beyond the image and any within it, and a classifier of both.

    context: the context within the image: none, ppm, aspp, ocr or upernet. within: another one, `channels` wide.
    channels: of R and of the memory; transform_channels: inside the attention.
    alpha: weight of the first segmentation's loss; auxiliary: of the auxiliary head's, 0 for no such head; beta: of
        the memory's consistency, which counts from the epoch `consistency_epoch` on, counted from 0 (the authors'
        code: from the second one).
    momentum: of the memory at the learning rate `momentum_lr` (the training's base rate when not given); it follows
        the learning rate, so under the poly schedule with a floor of 1 % it is the paper's own poly. The authors'
        runs on Cityscapes and COCO-Stuff have a `momentum_lr` of 0.9 times their base rate: they start at 1.
    fixed_momentum: `momentum` stays as it is, whatever the learning rate.
    cosine: see ClassMemory. hard: see BeyondImage. auxiliary_channels: `channels` when not given.
    align_corners: of the enlargement to the images' size, for the memory too; a context within has its own.
    """

    paper: ClassVar[Paper] = Paper(
        "Mining Contextual Information Beyond Image for Semantic Segmentation", "Jin et al.", "ICCV", 2021, "2108.11819"
    )
    backbone_options = TimmOptions("resnet50c", output_stride=8)
    backbone: Backbone

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        within: Context | None = None,
        *,
        context: str = "aspp",
        channels: int = 512,
        transform_channels: int = 256,
        dropout: float = 0.1,
        alpha: float = 0.4,
        auxiliary: float = 0.4,
        auxiliary_channels: int | None = None,
        beta: float = 1.0,
        consistency_epoch: int = 1,
        momentum: float = 0.9,
        momentum_lr: float | None = None,
        fixed_momentum: bool = False,
        cosine: bool = True,
        hard: bool = False,
        align_corners: bool = False,
        criterion: Criterion = cross_entropy,
    ) -> None:
        super().__init__()
        if context not in CONTEXTS:
            raise ValueError(f"context = {context!r}: it must be one of {', '.join(CONTEXTS)}")
        within = within or CONTEXTS[context](backbone.channels, channels)
        self.backbone = backbone
        self.num_classes = num_classes
        self.in_channels = backbone.in_channels
        self.bottleneck = ConvBNReLU(backbone.channels[-1], channels, 3)
        self.memory = ClassMemory(num_classes, channels, cosine=cosine)
        self.beyond = BeyondImage(channels, transform_channels, hard=hard)
        self.within = within
        self.refine_within = ContextAttention(channels, transform_channels) if within is not None else None
        self.fuse_within = ConvBNReLU(2 * channels, channels, 3) if within is not None else None
        self.classify_first = classifier(channels, num_classes, channels, 1, dropout)  # H1
        self.classify = classifier(channels, num_classes, channels, 1, dropout)  # H2
        self.auxiliary = (
            classifier(backbone.channels[-2], num_classes, auxiliary_channels or channels, 3, dropout)
            if auxiliary > 0
            else None
        )
        if within is not None and within.reads_regions and self.auxiliary is None:
            raise ValueError("this context reads the auxiliary head's scores: auxiliary must be more than 0")
        self.alpha = alpha
        self.auxiliary_weight = auxiliary
        self.beta = beta
        self.consistency_epoch = consistency_epoch
        self.momentum = momentum
        self.momentum_lr = momentum_lr
        self.fixed_momentum = fixed_momentum
        self.align_corners = align_corners
        self.criterion = criterion
        self.epoch = 0  # as `observe` last heard

    def scores(self, images: Tensor) -> MCIBIOutput:
        """What `forward` enlarges: the same maps at their own strides."""
        maps = self.backbone(images)
        features = self.bottleneck(maps[-1])  # R
        first = self.classify_first(features)
        # A copy: `observe` moves the rows while the backward pass still needs those of this forward pass.
        augmented = self.beyond(features, first, self.memory.rows.clone())
        read = self.within is not None and self.within.reads_regions
        auxiliary = None
        if self.auxiliary is not None and (read or self.training or self.all_outputs):
            auxiliary = self.auxiliary(maps[-2])
        if self.within is not None and self.refine_within is not None and self.fuse_within is not None:
            within = self.refine_within(features, self.within(maps, auxiliary))
            augmented = self.fuse_within(torch.cat([within, augmented], dim=1))
        return MCIBIOutput(self.classify(augmented), first, auxiliary, features)

    def forward(self, images: Tensor) -> MCIBIOutput:
        logits, *others, features = self.scores(images)
        enlarged = resize(logits, like=images, align_corners=self.align_corners)
        if not (self.training or self.all_outputs):
            return MCIBIOutput(enlarged, None, None, None)
        first, auxiliary = (
            None if maps is None else resize(maps, like=images, align_corners=self.align_corners) for maps in others
        )
        return MCIBIOutput(enlarged, first, auxiliary, features)

    def beside_memory(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """R, and the memory's rows."""
        return self.bottleneck(self.backbone(images)[-1]), self.memory.rows

    def momentum_at(self, progress: Progress) -> float:
        """The memory's momentum, in the same ratio to `momentum` as the learning rate to `momentum_lr`, or fixed."""
        if self.fixed_momentum:
            return self.momentum
        base = progress.base_lr if self.momentum_lr is None else self.momentum_lr
        return self.momentum * progress.lr / base

    def observe(self, output: MCIBIOutput, target: Tensor, progress: Progress) -> None:
        """The memory learns from this iteration's features: after the aggregation, which saw the old one."""
        assert output.features is not None
        self.epoch = progress.epoch
        self.memory.update(output.features.detach(), target, self.momentum_at(progress), self.align_corners)

    def remembered(self) -> dict[str, Tensor]:
        """The memory's rows (K, C): how they drift over training."""
        return {"memory": self.memory.rows}

    def loss(self, output: MCIBIOutput, target: Tensor) -> dict[str, Tensor]:
        """The criterion of each enlarged map, weighted, and the consistency of the memory."""
        terms = {"logits": self.criterion(output.logits, target)}
        if output.first is not None:
            terms["first"] = self.alpha * self.criterion(output.first, target)
        if output.auxiliary is not None:
            terms["auxiliary"] = self.auxiliary_weight * self.criterion(output.auxiliary, target)
        if self.beta > 0 and self.epoch >= self.consistency_epoch:
            terms["memory"] = self.beta * self.consistency()
        return terms

    def consistency(self) -> Tensor:
        """The classifier has to know each row of the memory as its class; rows of classes not yet seen count too."""
        scores = self.classify(self.memory.rows[:, :, None, None].clone())  # K pictures of one pixel
        return F.cross_entropy(scores.flatten(1).float(), torch.arange(self.num_classes, device=scores.device))


def classifier(in_channels: int, num_classes: int, channels: int, kernel: int, dropout: float) -> nn.Sequential:
    """A convolution with BN and ReLU, dropout of whole channels, 1x1 classifier: (B, C, H, W) -> (B, K, H, W)."""
    return nn.Sequential(
        ConvBNReLU(in_channels, channels, kernel), nn.Dropout2d(dropout), nn.Conv2d(channels, num_classes, 1)
    )
