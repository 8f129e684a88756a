"""A convolution with batch normalisation and ReLU, and the small head made of one."""

from __future__ import annotations

from torch import nn


class ConvBNReLU(nn.Sequential):
    """Convolution without bias, BatchNorm, ReLU: (B, C_in, H, W) -> (B, C_out, H', W').

    The padding keeps the size at stride 1, whatever the (odd) kernel and the dilation.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__(
            nn.Conv2d(
                in_channels,
                out_channels,
                kernel,
                stride=stride,
                padding=dilation * (kernel // 2),
                dilation=dilation,
                bias=False,
            ),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class FCNHead(nn.Sequential):
    """3x3 convolution to a quarter of the channels, BN, ReLU, dropout, 1x1 classifier: (B, C, H, W) -> (B, K, H, W).

    The auxiliary head that PSPNet introduced and torchvision and mmsegmentation put on a ResNet's third stage.
    """

    def __init__(self, in_channels: int, num_classes: int, channels: int | None = None, dropout: float = 0.1) -> None:
        channels = channels or in_channels // 4
        super().__init__(
            ConvBNReLU(in_channels, channels, 3),
            nn.Dropout(dropout),
            nn.Conv2d(channels, num_classes, 1),
        )
