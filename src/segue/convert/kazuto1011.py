"""kazuto1011/deeplab-pytorch: DeepLabv2 and v3 on a ResNet in Caffe's layout, alone or at several scales (MSC).

What it calls DeepLabV1, a container for weights trained on COCO, is that ResNet with a 1x1 classifier.

Checkpoints of 2018 name some layers otherwise (`scale.` for `base.`, `proj` for `shortcut`); they are computed as the
code is now, which shrinks by exactly 0.75 where it once rounded first: the same where sides divide by four.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from segue.backbones import Features, TimmBackbone
from segue.convert.reference import Conversion, ConversionError, Rule, Source, rename
from segue.convert.resnet import resnet_shape
from segue.models.deeplabv2 import DeepLabV2
from segue.models.deeplabv3 import DeepLabV3
from segue.models.fcn_resnet import FCNResNet
from segue.models.msc import MultiScale

BACKBONE: list[Rule] = [
    (r"layer1\.conv1\.conv\.", "backbone.body.conv1."),
    (r"layer1\.conv1\.bn\.", "backbone.body.bn1."),
]
PARTS = {"reduce": "{}1", "conv3x3": "{}2", "increase": "{}3"}
SHORTCUTS = ("shortcut", "proj")
AROUND = ("base.", "scale.")  # what MSC calls its network

HEAD_V2: list[Rule] = [
    (r"(?:aspp\.)?(?:stages\.)?c(\d+)\.", r"head.branches.\1."),
    (r"aspp\.stages\.(\d+)\.", r"head.branches.\1."),
]
HEAD_V3: list[Rule] = [
    (r"aspp\.stages\.c(\d+)\.conv\.", r"aspp.branches.\1.0."),
    (r"aspp\.stages\.c(\d+)\.bn\.", r"aspp.branches.\1.1."),
    (r"aspp\.stages\.imagepool\.conv\.conv\.", "aspp.image_pooling.project.0."),
    (r"aspp\.stages\.imagepool\.conv\.bn\.", "aspp.image_pooling.project.1."),
    (r"fc1\.conv\.", "aspp.project.0."),
    (r"fc1\.bn\.", "aspp.project.1."),
    (r"fc2\.", "classify."),
]


def _block_name(name: str) -> str:
    """layer2.block1.reduce.conv.weight -> backbone.body.layer1.0.conv1.weight."""
    match = re.fullmatch(r"layer(\d)\.block(\d+)\.(\w+)\.(conv|bn)\.(\w+)", name)
    if match is None:
        return name
    layer, block, part, kind, leaf = match.groups()
    place = f"downsample.{0 if kind == 'conv' else 1}" if part in SHORTCUTS else PARTS[part].format(kind)
    return f"backbone.body.layer{int(layer) - 1}.{int(block) - 1}.{place}.{leaf}"


def _resnet(tensors: Mapping[str, Tensor], output_stride: int, multi_grids: tuple[int, ...]) -> TimmBackbone:
    shape = resnet_shape(tensors, "backbone.body.")
    return TimmBackbone(
        shape.name,
        in_channels=shape.in_channels,
        output_stride=output_stride,
        multi_grid=multi_grids,
        contract_dilation=False,
        width=shape.width,
        caffe=True,
    )


def _convert_v1(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    rules: list[Rule] = [*BACKBONE, (r"fc\.", "head.")]
    tensors, unused = rename({_block_name(name): tensor for name, tensor in state.items()}, rules)
    num_classes, channels = state["fc.weight"].shape[:2]
    head = nn.Conv2d(channels, num_classes, 1)
    network = FCNResNet(_resnet(tensors, 8, ()), num_classes, head, auxiliary=0.0)
    return Conversion(network, tensors, unused)


def _convert_v2(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    tensors, unused = rename({_block_name(name): tensor for name, tensor in state.items()}, BACKBONE + HEAD_V2)
    num_classes = tensors["head.branches.0.weight"].shape[0]
    network = DeepLabV2(_resnet(tensors, 8, ()), num_classes, rates=_rates(tensors, args))
    return Conversion(network, tensors, unused)


def _convert_v2_head(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    tensors, unused = rename(state, HEAD_V2)
    num_classes, channels = tensors["head.branches.0.weight"].shape[:2]
    network = DeepLabV2(Features(channels), num_classes, rates=_rates(tensors, args))
    return Conversion(network, tensors, unused)


def _rates(tensors: Mapping[str, Tensor], args: Mapping[str, Any]) -> tuple[int, ...]:
    """`pyramids` is what the argument was called at first, `rates` what the head calls it."""
    given = next((args[name] for name in ("atrous_rates", "pyramids", "rates") if name in args), (6, 12, 18, 24))
    rates = tuple(given)
    branches = sum(name.startswith("head.branches.") and name.endswith(".weight") for name in tensors)
    if branches != len(rates):
        raise ConversionError(f"{branches} branches of ASPP, but {len(rates)} rates: give them as `atrous_rates`")
    return rates


def _convert_v3(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    tensors, unused = rename({_block_name(name): tensor for name, tensor in state.items()}, BACKBONE + HEAD_V3)
    output_stride = args.get("output_stride", 16)
    rates = args.get("atrous_rates", (6, 12, 18) if output_stride == 16 else (12, 24, 36))
    grids = tuple(args.get("multi_grids", (1, 2, 4)) or ())
    blocks = resnet_shape(tensors, "backbone.body.").blocks[-1]
    if grids and len(grids) != blocks:
        raise ConversionError(f"multi_grids = {grids} for the {blocks} blocks of the last stage")
    network = DeepLabV3(
        _resnet(tensors, output_stride, grids),
        state["fc2.weight"].shape[0],
        rates=tuple(rates),
        channels=state["fc1.conv.weight"].shape[0],
    )
    return Conversion(network, tensors, unused)


def _around(state: Mapping[str, Tensor]) -> str | None:
    """What every name begins with, if MSC is around the network."""
    return next((prefix for prefix in AROUND if state and all(name.startswith(prefix) for name in state)), None)


def _inside(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def _convert_msc(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    prefix = _around(state) or ""
    base = _inside(state, prefix)
    inner = (_convert_v3 if _is_v3(base) else _convert_v2)(base, args)
    network = MultiScale(inner.network, scales=tuple(args.get("scales", (0.5, 0.75))))
    tensors = {f"network.{name}": tensor for name, tensor in inner.tensors.items()}
    return Conversion(network, tensors, [f"{prefix}{name}" for name in inner.unused])


def _is_v1(state: Mapping[str, Tensor]) -> bool:
    classifier = state.get("fc.weight")  # that of a ResNet for ImageNet is no convolution
    return "layer1.conv1.conv.weight" in state and classifier is not None and classifier.ndim == 4


def _is_v2(state: Mapping[str, Tensor]) -> bool:
    first = {"aspp.c0.weight", "aspp.stages.c0.weight", "aspp.stages.0.weight"}
    return "layer1.conv1.conv.weight" in state and bool(first & state.keys())


def _is_v2_head(state: Mapping[str, Tensor]) -> bool:
    return bool(state) and all(re.fullmatch(r"(stages\.)?c\d+\.(weight|bias)", name) for name in state)


def _is_v3(state: Mapping[str, Tensor]) -> bool:
    return {"layer1.conv1.conv.weight", "aspp.stages.c0.conv.weight", "fc2.weight"} <= state.keys()


def _is_msc(state: Mapping[str, Tensor]) -> bool:
    prefix = _around(state)
    return prefix is not None and (_is_v2(_inside(state, prefix)) or _is_v3(_inside(state, prefix)))


NAME = ("kazuto1011/deeplab-pytorch",)
SOURCES = (
    Source(NAME, "fcn", _is_v1, _convert_v1),
    Source(NAME, "deeplabv2", _is_v2, _convert_v2),
    Source(NAME, "deeplabv2", _is_v2_head, _convert_v2_head),
    Source(NAME, "deeplabv2_msc", _is_msc, _convert_msc),
    Source(NAME, "deeplabv3", _is_v3, _convert_v3),
)
