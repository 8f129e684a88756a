"""DANet: Dual Attention Network for Scene Segmentation (Fu et al., CVPR 2019, arXiv:1809.02983)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from segue.backbones import Backbone, TimmOptions
from segue.layers import ConvBNReLU, FCNHead, attend, attention_rows, resize
from segue.losses import cross_entropy
from segue.models.network import Criterion, Network, Paper


class DANetOutput(NamedTuple):
    """What DANet computes; all but `logits` is read by the loss only."""

    logits: Tensor  # (B, K, H, W), from the sum of both branches
    pam: Tensor | None  # (B, K, H, W), from position attention alone
    cam: Tensor | None  # (B, K, H, W), from channel attention alone
    auxiliary: Tensor | None  # (B, K, H, W), from the third stage


class DANetFeatures(NamedTuple):
    """What DANet computes on the way, at the stride of the backbone's last map."""

    backbone: Tensor  # (B, C, H', W'), the last stage
    pam: Tensor  # (B, channels, H', W'), out of position attention
    cam: Tensor  # (B, channels, H', W'), out of channel attention; the paper shows some of its channels


class PAM(nn.Module):
    """Position attention (Sec. 3.2): a position gathers the positions that look like it, near or far.

    (B, C, H, W) -> (B, C, H, W). `channels` are those of the features, `attention_channels` those of queries and keys.
    """

    def __init__(self, channels: int, attention_channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, attention_channels, 1)
        self.key = nn.Conv2d(channels, attention_channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.alpha = nn.Parameter(torch.zeros(()))  # zero: the block starts as the identity (Eq. 2)

    def forward(self, features: Tensor) -> Tensor:
        query, key, value = (project(features).flatten(2) for project in (self.query, self.key, self.value))
        attended = attend(query, key, value).unflatten(2, features.shape[-2:])  # Eq. 1, and the sum of Eq. 2
        return self.alpha * attended + features

    def attention(self, features: Tensor, positions: Sequence[int]) -> Tensor:
        """Rows of the attention matrix S (Eq. 1): what a few positions look at.

        features (B, C, H, W); positions: R numbers row * W + column -> (B, R, H, W), each map adding up to 1.
        """
        query = self.query(features).flatten(2)[:, :, list(positions)]
        key = self.key(features).flatten(2)
        return attention_rows(query, key).unflatten(2, features.shape[-2:])


class CAM(nn.Module):
    """Channel attention (Sec. 3.3): a channel gathers other channels by their inner products with it.

    (B, C, H, W) -> (B, C, H, W). Eq. 3 takes the softmax of the inner products, which favours channels that respond
    alike. The authors' code, every published weight and every reimplementation take it of their negatives, which
    favours unlike channels, and so does this class unless `paper_sign`.
    """

    def __init__(self, paper_sign: bool = False) -> None:
        super().__init__()
        self.paper_sign = paper_sign
        self.beta = nn.Parameter(torch.zeros(()))  # zero: the block starts as the identity (Eq. 4)

    def forward(self, features: Tensor) -> Tensor:
        # Sums of N squares overflow in float16, and decide a softmax too coarsely in bfloat16.
        flat = features.flatten(2).to(torch.promote_types(features.dtype, torch.float32))
        with torch.autocast(features.device.type, enabled=False):
            attended = self._weights(flat, flat) @ flat  # (B, C, N)
        return self.beta * attended.to(features.dtype).view_as(features) + features

    def attention(self, features: Tensor, channels: Sequence[int]) -> Tensor:
        """Rows of the channel attention matrix X (Eq. 3): features (B, C, H, W), R channels -> (B, R, C)."""
        flat = features.flatten(2).to(torch.promote_types(features.dtype, torch.float32))
        with torch.autocast(features.device.type, enabled=False):
            return self._weights(flat[:, list(channels)], flat)

    def _weights(self, some: Tensor, every: Tensor) -> Tensor:
        energy = some @ every.transpose(1, 2)
        return torch.softmax(energy if self.paper_sign else -energy, dim=-1)


class DANet(Network[DANetOutput]):
    """A dilated ResNet, position and channel attention side by side on its last map, their sum classified (Fig. 2).

    channels: of each branch; without it a quarter of the backbone's, 512 of 2048.
    attention_channels: of queries and keys; without it an eighth of `channels`.
    auxiliary: weight of the loss of a small head on the third stage, 0 for none. The paper has none; mmsegmentation
        trains with 0.4.
    auxiliary_channels: of that head; without it a quarter of the stage's.
    paper_sign: take channel attention's softmax as Eq. 3 prints it; see `CAM`.
    align_corners: of the enlargement; False in mmsegmentation.
    """

    paper: ClassVar[Paper] = Paper(
        "Dual Attention Network for Scene Segmentation", "Fu et al.", "CVPR", 2019, "1809.02983"
    )
    backbone_options = TimmOptions("resnet101", output_stride=8, multi_grid=(1, 2, 4))  # dilations 4, 8, 16
    backbone: Backbone
    auxiliary_map: int = -2  # which of the backbone's maps the small head reads

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        channels: int | None = None,
        attention_channels: int | None = None,
        dropout: float = 0.1,
        paper_sign: bool = False,
        auxiliary: float = 0.0,
        auxiliary_channels: int | None = None,
        align_corners: bool = True,
        criterion: Criterion = cross_entropy,
    ) -> None:
        super().__init__()
        channels = channels or backbone.channels[-1] // 4
        self.backbone = backbone
        self.num_classes = num_classes
        self.in_channels = backbone.in_channels
        self.pam_in = ConvBNReLU(backbone.channels[-1], channels, 3)
        self.pam = PAM(channels, attention_channels or max(1, channels // 8))
        self.pam_out = ConvBNReLU(channels, channels, 3)
        self.cam_in = ConvBNReLU(backbone.channels[-1], channels, 3)
        self.cam = CAM(paper_sign)
        self.cam_out = ConvBNReLU(channels, channels, 3)
        # Each classifier drops channels of its own.
        self.classify_pam = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(channels, num_classes, 1))
        self.classify_cam = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(channels, num_classes, 1))
        self.classify_sum = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(channels, num_classes, 1))
        self.auxiliary_weight = auxiliary
        self.auxiliary = FCNHead(backbone.channels[-2], num_classes, auxiliary_channels) if auxiliary > 0 else None
        self.align_corners = align_corners
        self.criterion = criterion

    def forward(self, images: Tensor) -> DANetOutput:
        scores = self.scores(images)
        logits, pam, cam, auxiliary = (
            None if maps is None else resize(maps, like=images, align_corners=self.align_corners) for maps in scores
        )
        assert logits is not None
        return DANetOutput(logits, pam, cam, auxiliary)

    def scores(self, images: Tensor) -> DANetOutput:
        """The score maps of `forward` before they are enlarged: (B, K, H', W') each."""
        features = self.backbone(images)
        last = features[-1]
        pam, cam = self.pam_out(self.pam(self.pam_in(last))), self.cam_out(self.cam(self.cam_in(last)))
        logits = self.classify_sum(pam + cam)
        if not (self.training or self.all_outputs):
            return DANetOutput(logits, None, None, None)
        auxiliary = None if self.auxiliary is None else self.auxiliary(features[self.auxiliary_map])
        return DANetOutput(logits, self.classify_pam(pam), self.classify_cam(cam), auxiliary)

    def loss(self, output: DANetOutput, target: Tensor) -> dict[str, Tensor]:
        """The criterion of each map, equally weighted, and of the auxiliary one."""
        terms = {name: self.criterion(maps, target) for name, maps in output._asdict().items() if maps is not None}
        if "auxiliary" in terms:
            terms["auxiliary"] = self.auxiliary_weight * terms["auxiliary"]
        return terms

    def features(self, images: Tensor) -> DANetFeatures:
        """What the branches work with: the backbone's last map, and both attentions' outputs."""
        last = self.backbone(images)[-1]
        return DANetFeatures(last, self.pam(self.pam_in(last)), self.cam(self.cam_in(last)))

    def position_attention(self, images: Tensor, positions: Sequence[int]) -> Tensor:
        """What a few positions look at: R rows of position attention's S, as maps (B, R, H', W').

        positions: cells of the backbone's last map, row * W' + column; the pixel (y, x) lies in row y // stride and
        column x // stride. The whole of S is never made.
        """
        return self.pam.attention(self.pam_in(self.backbone(images)[-1]), positions)

    def channel_attention(self, images: Tensor, channels: Sequence[int]) -> Tensor:
        """Which channels a few channels gather: R rows of channel attention's X, (B, R, channels)."""
        return self.cam.attention(self.cam_in(self.backbone(images)[-1]), channels)
