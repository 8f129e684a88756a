"""No encoder at all, for a head that is checked, or trained, on feature maps computed before."""

from __future__ import annotations

from torch import Tensor

from segue.backbones.backbone import Backbone


class Features(Backbone):
    """What comes in is the one feature map that goes out: (B, channels, H, W) -> [the same]."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.name = "features"
        self.in_channels = channels
        self.channels = (channels,)
        self.strides = (stride,)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [images]
