"""The attention block that OCRNet and MCIBI share: every position gathers from a set of vectors."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from segue.layers.convolution import ConvBNReLU


class ContextAttention(nn.Module):
    """Scaled dot-product attention of one map over another (OCRNet, arXiv:1909.11065, Sec. 3.2).

    (queries (B, C, H, W), keys (B, C, H', W')) -> (B, C, H, W). Queries and keys pass two 1x1 convolutions each,
    values and the result one, all with BN and ReLU; in between there are `transform_channels` channels. The table of
    all pairs of positions is never held as a whole: queries, keys and values are equally wide, which PyTorch's fused
    kernels ask for.
    """

    def __init__(self, channels: int, transform_channels: int) -> None:
        super().__init__()
        self.query = nn.Sequential(
            ConvBNReLU(channels, transform_channels, 1), ConvBNReLU(transform_channels, transform_channels, 1)
        )
        self.key = nn.Sequential(
            ConvBNReLU(channels, transform_channels, 1), ConvBNReLU(transform_channels, transform_channels, 1)
        )
        self.value = ConvBNReLU(channels, transform_channels, 1)
        self.out = ConvBNReLU(transform_channels, channels, 1)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        height, width = queries.shape[-2:]
        # (B, 1, N, transform_channels): one head. The scale is transform_channels ** -0.5. Other than contiguous, they
        # would make the processor's kernel fall back to the whole table.
        query, key, value = (
            maps.flatten(2).transpose(1, 2)[:, None].contiguous()
            for maps in (self.query(queries), self.key(keys), self.value(keys))
        )
        gathered = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.out(gathered[:, 0].transpose(1, 2).unflatten(2, (height, width)))
        return out
