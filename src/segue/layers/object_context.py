"""Object-contextual representations (Yuan et al., ECCV 2020, arXiv:1909.11065, Sec. 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segue.layers.context_attention import ContextAttention
from segue.layers.convolution import ConvBNReLU


class ObjectContext(nn.Module):
    """Each position gathers the vectors of the soft object regions that it resembles.

    (features (B, C, H, W), regions (B, K, H, W)) -> (B, C, H, W), where `regions` are the scores of a first
    segmentation. fuse_kernel: of the convolution that joins the gathered vectors with the features.
    scale: on the scores before their softmax over positions; the larger, the fewer positions make a region.
    """

    def __init__(self, channels: int, transform_channels: int, fuse_kernel: int = 1, *, scale: float = 1.0) -> None:
        super().__init__()
        self.attention = ContextAttention(channels, transform_channels)
        self.fuse = ConvBNReLU(2 * channels, channels, fuse_kernel)
        self.scale = scale

    def forward(self, features: Tensor, regions: Tensor) -> Tensor:
        # A region's vector is the mean of the features, weighted by a softmax over the positions.
        membership = (self.scale * regions).flatten(2).softmax(dim=-1)  # (B, K, N)
        vectors = membership.to(features) @ features.flatten(2).transpose(1, 2)  # (B, K, C)
        context = self.attention(features, vectors.transpose(1, 2)[..., None])
        fused: Tensor = self.fuse(torch.cat([context, features], dim=1))
        return fused
