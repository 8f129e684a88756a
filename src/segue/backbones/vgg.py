"""VGG-16 (Simonyan and Zisserman, ICLR 2015, arXiv:1409.1556, configuration D), the trunk of FCN, DeepLab and SegNet.

Layers have the names of the authors' Caffe release, conv1_1 to conv5_3, fc6 and fc7, which these papers use as well.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise

from torch import Tensor, nn

from segue.backbones.backbone import Backbone, BackboneOptions, create_timm, fill, read_state
from segue.layers import he_initialise

CHANNELS = (64, 128, 256, 512, 512)
DEPTHS = (2, 2, 3, 3, 3)
CONVOLUTIONS = tuple(f"conv{stage}_{index}" for stage in range(1, 6) for index in range(1, DEPTHS[stage - 1] + 1))


class VGG16(Backbone):
    """Thirteen 3x3 convolutions with bias and ReLU in five stages -> the five pooled maps.

    pools: what ends each stage; papers differ in it.
    channels: of each stage.
    padding: of the very first convolution; all others keep the size.
    dilations: of each stage's convolutions.
    """

    def __init__(
        self,
        pools: Sequence[nn.MaxPool2d],
        *,
        in_channels: int = 3,
        channels: Sequence[int] = CHANNELS,
        padding: int = 1,
        dilations: Sequence[int] = (1, 1, 1, 1, 1),
    ) -> None:
        super().__init__()
        self.name = "vgg16"
        self.in_channels = in_channels
        self.channels = tuple(channels)
        self.stages = nn.ModuleDict()
        self.pools = nn.ModuleList(pools)
        for number, (before, after) in enumerate(pairwise((in_channels, *channels)), start=1):
            layers: OrderedDict[str, nn.Module] = OrderedDict()
            for index in range(1, DEPTHS[number - 1] + 1):
                rate = dilations[number - 1]
                layers[f"conv{number}_{index}"] = nn.Conv2d(before, after, 3, padding=rate, dilation=rate)
                layers[f"relu{number}_{index}"] = nn.ReLU(inplace=True)
                before = after
            self.stages[str(number)] = nn.Sequential(layers)
        first = self.stages["1"].get_submodule("conv1_1")
        assert isinstance(first, nn.Conv2d)
        first.padding = (padding, padding)
        stride, strides = 1, []
        for pool in pools:
            assert isinstance(pool.stride, int)
            stride *= pool.stride
            strides.append(stride)
        self.strides = tuple(strides)
        he_initialise(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps, pooled = images, []
        for stage, pool in zip(self.stages.values(), self.pools, strict=True):
            maps = pool(stage(maps))
            pooled.append(maps)
        return pooled


def scaled(channels: Sequence[int], width: float) -> tuple[int, ...]:
    """Channels times `width`, even numbers of 8 or more."""
    return tuple(max(8, 2 * round(base * width / 2)) for base in channels)


def classifier(options: BackboneOptions, trunk: str, name: str = "vgg16") -> dict[str, Tensor]:
    """The VGG-16 that a trunk starts from: its tensors by the names conv1_1.weight ... fc7.bias; none for random ones.

    trunk: what it is called in messages. name: timm's name of what is fetched, `vgg16` or `vgg16_bn`.
    Raises ValueError for wishes that exclude each other, and for a file of something else.
    """
    if options.pretrained and options.weights is not None:
        raise ValueError(
            f"{trunk}: pretrained = true fetches weights, {str(options.weights)!r} is a file of them: drop one"
        )
    if options.pretrained and options.width != 1.0:
        raise ValueError(f"{trunk}: width = {options.width}, but pretrained weights exist for width 1 only")
    if options.weights is not None:
        return vgg16_names(read_state(options.weights), str(options.weights))
    if options.pretrained:
        return vgg16_names(create_timm(name, pretrained=True).state_dict(), f"timm's {name}")
    return {}


def vgg16_names(state: Mapping[str, Tensor], origin: str) -> dict[str, Tensor]:
    """A VGG-16 classifier of torchvision, of timm or of Caffe -> its tensors by Caffe's names.

    The fully connected fc6 and fc7 come back as the convolutions that compute the same: (4096, 512, 7, 7) and
    (4096, 4096, 1, 1). Those of `vgg16_bn` have their BatchNorm under conv1_1_bn and so on.
    """
    named: dict[str, Tensor] = {}
    if "features.0.weight" in state:
        layers = sorted(int(name.split(".")[1]) for name in state if re.fullmatch(r"features\.\d+\.weight", name))
        convolutions = [layer for layer in layers if state[f"features.{layer}.weight"].ndim == 4]
        if len(convolutions) != len(CONVOLUTIONS):
            raise ValueError(f"{origin}: has {len(convolutions)} convolutions, VGG-16 has {len(CONVOLUTIONS)}")
        for convolution, layer in zip(CONVOLUTIONS, convolutions, strict=True):
            for leaf in ("weight", "bias"):
                named[f"{convolution}.{leaf}"] = state[f"features.{layer}.{leaf}"]
            for leaf in ("weight", "bias", "running_mean", "running_var"):  # torchvision's order: convolution, norm
                if f"features.{layer + 1}.running_mean" in state:
                    named[f"{convolution}_bn.{leaf}"] = state[f"features.{layer + 1}.{leaf}"]
        for fc, places in (("fc6", ("classifier.0", "pre_logits.fc1")), ("fc7", ("classifier.3", "pre_logits.fc2"))):
            for place in places:
                if f"{place}.weight" in state:
                    named[f"{fc}.weight"] = state[f"{place}.weight"]
                    named[f"{fc}.bias"] = state[f"{place}.bias"]
    elif "conv1_1.weight" in state:
        named.update(state)
    else:
        raise ValueError(
            f"{origin}: not a VGG-16 of torchvision, timm or Caffe: it has neither features.0.weight nor conv1_1.weight"
        )
    if "fc6.weight" in named:
        named["fc6.weight"] = as_convolution(named["fc6.weight"], named["conv5_3.weight"].shape[0])
    if "fc7.weight" in named:
        named["fc7.weight"] = as_convolution(named["fc7.weight"], named["fc7.weight"].shape[1])
    return named


def as_convolution(weight: Tensor, in_channels: int) -> Tensor:
    """(F, C * k * k) -> (F, C, k, k): a fully connected layer read as a convolution over the map that it flattened."""
    if weight.ndim == 4:
        return weight
    side = math.isqrt(weight.shape[1] // in_channels)
    return weight.reshape(weight.shape[0], in_channels, side, side)


def fill_by_layer(module: nn.Module, tensors: Mapping[str, Tensor], origin: str, in_channels: int) -> None:
    """Fill a trunk whose layers, wherever they stand in it, end in the tensors' own names (conv1_1.weight).

    No tensors at all leave it as it is.
    """
    if not tensors:
        return
    placed = {name: ".".join(name.split(".")[-2:]) for name in module.state_dict()}
    fill(module, {name: tensors[layer] for name, layer in placed.items() if layer in tensors}, origin, in_channels)
