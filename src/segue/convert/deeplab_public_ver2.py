"""talent518/deeplab-public-ver2, a mirror of the DeepLab authors' second Caffe release: ASPP on VGG-16."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from segue.convert.deeplab_public import has_fc8
from segue.convert.reference import Conversion, ConversionError, Source
from segue.models.deeplabv2 import RATES, DeepLabV2, VGG16Fields


def _convert(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        name = re.sub(r"^conv(\d)_(\d)\.", r"backbone.body.stages.\1.conv\1_\2.", name)
        name = re.sub(r"^(fc[67])_(\d)\.", lambda m: f"backbone.fields.{int(m[2]) - 1}.{m[1]}.", name)
        name = re.sub(r"^fc8_\w+_(\d)\.", lambda m: f"head.branches.{int(m[1]) - 1}.", name)
        tensors[name] = tensor
    branches = sum(bool(re.fullmatch(r"fc6_\d\.weight", name)) for name in state)
    rates = tuple(args.get("rates", RATES))  # the released file's; they are all that its tensors do not tell
    if branches != len(rates):
        raise ConversionError(f"{branches} branches of ASPP, but {len(rates)} rates: give them as `rates`")
    trunk = VGG16Fields(
        in_channels=state["conv1_1.weight"].shape[1],
        channels=[state[f"conv{stage}_1.weight"].shape[0] for stage in range(1, 6)],
        fc_channels=state["fc6_1.weight"].shape[0],
        rates=rates,
    )
    num_classes = tensors["head.branches.0.weight"].shape[0]
    return Conversion(DeepLabV2(trunk, num_classes, corners=True), tensors)


SOURCES = (
    Source(
        ("talent518/deeplab-public-ver2",),
        "deeplabv2",
        lambda state: {"conv1_1.weight", "fc6_1.weight"} <= state.keys() and has_fc8(state),
        _convert,
    ),
)
