"""CaffeNet, the AlexNet that Caffe ships and FCN starts from (Krizhevsky et al., NeurIPS 2012)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segue.backbones.backbone import Backbone
from segue.layers import he_initialise

CHANNELS = (96, 256, 384, 384, 256)


def local_response_norm() -> nn.LocalResponseNorm:
    """Caffe's default, across channels; alpha is divided by the size there as it is in PyTorch."""
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)


def pool() -> nn.MaxPool2d:
    """Overlapping windows; Caffe rounds sizes up."""
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


class AlexNet(Backbone):
    """Five convolutions with bias and ReLU -> the three pooled maps, the first two normalised across channels.

    The order is convolution, ReLU, pooling, normalisation, as in CaffeNet; the paper normalises before it pools. The
    halves of conv2, conv4 and conv5 do not see each other (two groups). torchvision's `alexnet` has other channels,
    no groups and no normalisation: its weights do not fit.

    channels: of each convolution, even numbers. padding: of the first one.
    """

    def __init__(self, *, in_channels: int = 3, channels: Sequence[int] = CHANNELS, padding: int = 0) -> None:
        super().__init__()
        one, two, three, four, five = channels
        self.name = "alexnet"
        self.in_channels = in_channels
        self.channels = (one, two, five)
        self.strides = (8, 16, 32)
        self.conv1 = nn.Conv2d(in_channels, one, 11, stride=4, padding=padding)
        self.conv2 = nn.Conv2d(one, two, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(two, three, 3, padding=1)
        self.conv4 = nn.Conv2d(three, four, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(four, five, 3, padding=1, groups=2)
        self.relu = nn.ReLU(inplace=True)
        self.pool = pool()
        self.norm = local_response_norm()
        he_initialise(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        first = self.norm(self.pool(self.relu(self.conv1(images))))
        second = self.norm(self.pool(self.relu(self.conv2(first))))
        maps = self.relu(self.conv4(self.relu(self.conv3(second))))
        return [first, second, self.pool(self.relu(self.conv5(maps)))]
