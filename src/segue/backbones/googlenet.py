"""GoogLeNet as Caffe ships it, without BatchNorm (Szegedy et al., CVPR 2015, arXiv:1409.4842, Table 1)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segue.backbones.alexnet import local_response_norm, pool
from segue.backbones.backbone import Backbone
from segue.backbones.vgg import scaled
from segue.layers import he_initialise

INCEPTIONS = {  # 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection (Table 1)
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class Inception(nn.Module):
    """Four branches side by side: 1x1; 1x1 then 3x3; 1x1 then 5x5; 3x3 max pooling then 1x1. Each ends in a ReLU."""

    def __init__(self, in_channels: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, projected = channels
        self.conv1x1 = nn.Conv2d(in_channels, one, 1)
        self.reduce3x3 = nn.Conv2d(in_channels, reduce3, 1)
        self.conv3x3 = nn.Conv2d(reduce3, three, 3, padding=1)
        self.reduce5x5 = nn.Conv2d(in_channels, reduce5, 1)
        self.conv5x5 = nn.Conv2d(reduce5, five, 5, padding=2)
        self.project = nn.Conv2d(in_channels, projected, 1)
        self.channels = one + three + five + projected

    def forward(self, maps: Tensor) -> Tensor:
        branches = [
            self.conv1x1(maps),
            self.conv3x3(F.relu(self.reduce3x3(maps))),
            self.conv5x5(F.relu(self.reduce5x5(maps))),
            self.project(F.max_pool2d(maps, 3, stride=1, padding=1)),
        ]
        return F.relu(torch.cat(branches, dim=1))


class GoogLeNet(Backbone):
    """Up to inception 5b -> the maps before each pooling: conv2, 3b, 4e, 5b, at strides 4, 8, 16, 32.

    The two auxiliary classifiers and the final average pooling are left out. torchvision's `googlenet` has BatchNorm
    and 3x3 convolutions in place of the 5x5 ones: its weights do not fit.

    Sides below 31 leave the last pooling nothing: smaller pictures are filled with zeros at the bottom and right.
    """

    def __init__(self, *, in_channels: int = 3, width: float = 1.0) -> None:
        super().__init__()
        first, second = scaled((64, 192), width)
        self.name = "googlenet"
        self.in_channels = in_channels
        self.strides = (4, 8, 16, 32)
        self.conv1 = nn.Conv2d(in_channels, first, 7, stride=2, padding=3)
        self.conv2_reduce = nn.Conv2d(first, first, 1)
        self.conv2 = nn.Conv2d(first, second, 3, padding=1)
        self.norm = local_response_norm()
        self.pool = pool()
        blocks = {}
        before = second
        for name, channels in INCEPTIONS.items():
            blocks[name] = Inception(before, scaled(channels, width))
            before = blocks[name].channels
        self.inception3 = nn.Sequential(blocks["3a"], blocks["3b"])
        self.inception4 = nn.Sequential(*(blocks[name] for name in ("4a", "4b", "4c", "4d", "4e")))
        self.inception5 = nn.Sequential(blocks["5a"], blocks["5b"])
        self.channels = (second, blocks["3b"].channels, blocks["4e"].channels, blocks["5b"].channels)
        he_initialise(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        images = F.pad(images, (0, max(0, 31 - images.shape[-1]), 0, max(0, 31 - images.shape[-2])))
        maps = self.norm(self.pool(F.relu(self.conv1(images))))
        maps = self.norm(F.relu(self.conv2(F.relu(self.conv2_reduce(maps)))))
        pooled = [maps]
        for stage in (self.inception3, self.inception4, self.inception5):
            maps = stage(self.pool(maps))
            pooled.append(maps)
        return pooled


def googlenet_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Caffe's tensors (conv1/7x7_s2.weight, inception_3a/3x3_reduce.weight) by this package's names."""
    named = {}
    for name, tensor in state.items():
        name = re.sub(r"^conv1/7x7_s2\.", "conv1.", name)
        name = re.sub(r"^conv2/3x3_reduce\.", "conv2_reduce.", name)
        name = re.sub(r"^conv2/3x3\.", "conv2.", name)
        name = re.sub(r"^inception_(\d)([a-e])/", lambda m: f"inception{m[1]}.{ord(m[2]) - ord('a')}.", name)
        name = re.sub(r"\.(\dx\d)_reduce\.", r".reduce\1.", name)
        name = re.sub(r"\.(\dx\d)\.", r".conv\1.", name)
        named[name.replace(".pool_proj.", ".project.")] = tensor
    return named
