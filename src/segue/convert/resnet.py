"""What the tensors of a ResNet or ResNeXt tell of it, for converters: depth, stem, shortcut, width, groups."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from segue.convert.reference import ConversionError

DEPTHS: dict[tuple[bool, tuple[int, ...]], int] = {
    (False, (2, 2, 2, 2)): 18,
    (False, (3, 4, 6, 3)): 34,
    (True, (2, 2, 2, 2)): 26,
    (True, (3, 4, 6, 3)): 50,
    (True, (3, 4, 23, 3)): 101,
    (True, (3, 8, 36, 3)): 152,
}
"""(whether its blocks are bottlenecks, blocks per stage) -> depth."""


@dataclass(frozen=True)
class ResNetShape:
    """What `segue.backbones.TimmBackbone` has to be told.

    name: timm's, of depth, stem and shortcut. blocks: per stage.
    """

    name: str
    in_channels: int
    width: float
    blocks: tuple[int, ...]


def resnet_shape(state: Mapping[str, Tensor], prefix: str = "") -> ResNetShape:
    """Read a ResNet's shape from tensors of torchvision's and timm's names: `conv1`, `layer1.0.conv1`, ... .

    A deep stem is `conv1.0`, `conv1.3`, `conv1.6`, and `bn1`. Raises ConversionError for a ResNet that timm lacks.
    """
    found = [re.match(re.escape(prefix) + r"layer(\d)\.(\d+)\.conv1\.weight", name) for name in state]
    blocks = tuple(sum(1 for match in found if match and match[1] == str(stage)) for stage in (1, 2, 3, 4))
    bottleneck = f"{prefix}layer1.0.conv3.weight" in state
    if not any(blocks):
        raise ConversionError(f"the backbone is no ResNet: it has no tensor {prefix}layer1.0.conv1.weight")
    if (bottleneck, blocks) not in DEPTHS:
        kind = "bottlenecks" if bottleneck else "basic blocks"
        raise ConversionError(f"no known ResNet has {blocks} {kind} in its four stages")
    base = f"resnet{DEPTHS[bottleneck, blocks]}"
    # A pooled shortcut is (pooling, convolution, BN); the convolution is then the second of the three.
    pooled = state.get(f"{prefix}layer2.0.downsample.1.weight")
    is_pooled = pooled is not None and pooled.ndim == 4
    deep = f"{prefix}conv1.0.weight" in state
    first = state[f"{prefix}conv1.0.weight" if deep else f"{prefix}conv1.weight"]
    stems = {(False, False, 64): "", (True, False, 32): "c", (True, False, 64): "s", (True, True, 32): "d"}
    stem = (deep, is_pooled, first.shape[0])
    if stem not in stems:
        raise ConversionError(
            f"no known ResNet has a {'deep' if deep else 'plain'} stem of {first.shape[0]} channels and "
            f"{'pooled' if is_pooled else 'plain'} shortcuts"
        )
    name, width = base + stems[stem], state[f"{prefix}layer1.0.conv1.weight"].shape[0] / 64
    channels, of_group = state[f"{prefix}layer1.0.conv2.weight"].shape[:2]
    if channels != of_group:  # 32 groups of 4 channels in a resnext50_32x4d
        name, width = f"{name.replace('resnet', 'resnext')}_{channels // of_group}x{of_group}d", 1.0
    return ResNetShape(name, first.shape[1], width, blocks)


def stage_widths(state: Mapping[str, Tensor], prefix: str = "") -> list[int]:
    """Channels of the maps of a ResNet's four stages."""
    return [
        max(
            tensor.shape[0]
            for name, tensor in state.items()
            if re.match(rf"{re.escape(prefix)}layer{stage}\.0\.conv\d\.weight", name)
        )
        for stage in (1, 2, 3, 4)
    ]
