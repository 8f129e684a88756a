"""BatchNorm folded into the convolutions before it, which saves a pass over every map."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from timm.models.resnet import BasicBlock, Bottleneck
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batchnorm(network: nn.Module) -> int:
    """Fold each BatchNorm that follows a convolution directly into it, in place; return how many were folded.

    Which one follows which is taken from the modules' order where it is certain: neighbours in a `Sequential`, and the
    pairs conv1/bn1, conv2/bn2, conv3/bn3 of timm's ResNets. The network must be in eval().
    """
    folded = 0
    for module in list(network.modules()):
        for first, second in _neighbours(module):
            owner, name = _last_layer(module, first)
            convolution, norm = owner._modules[name], module._modules[second]
            if isinstance(convolution, nn.Conv2d) and type(norm) is nn.BatchNorm2d and norm.track_running_stats:
                owner._modules[name] = fuse_conv_bn_eval(convolution, norm)
                module._modules[second] = nn.Identity().eval()  # a new module is in training mode, and blocks ask
                folded += 1
    return folded


def _neighbours(module: nn.Module) -> Sequence[tuple[str, str]]:
    names = list(module._modules)
    if isinstance(module, nn.Sequential):
        return list(pairwise(names))
    stem = {"conv1", "bn1", "layer1", "layer4"} <= set(names)
    if stem or isinstance(module, BasicBlock | Bottleneck):
        return [(f"conv{i}", f"bn{i}") for i in (1, 2, 3) if f"conv{i}" in names and f"bn{i}" in names]
    return []


def _last_layer(owner: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Where a layer is kept, or the last one of a `Sequential`, as the stem of a ResNet-D is."""
    layer = owner._modules[name]
    if isinstance(layer, nn.Sequential) and len(layer):
        return _last_layer(layer, list(layer._modules)[-1])
    return owner, name
