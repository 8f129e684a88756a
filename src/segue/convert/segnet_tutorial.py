"""alexgkendall/SegNet-Tutorial: the authors' SegNet and SegNet-Basic in Caffe."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from segue.convert.reference import Conversion, Rule, Source, rename
from segue.models.segnet import Encoder, SegNet, SegNetBasic

RULES: list[Rule] = [
    (r"(conv(\d)_\d_D(_bn)?)\.", r"decoder.stages.\2.\1."),
    (r"(conv(\d)_\d(_bn)?)\.", r"backbone.stages.\2.\1."),
]


def convert_segnet(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    """SegNet on VGG-16, by the names of the authors' layers."""
    tensors, unused = rename(state, RULES)
    encoder = Encoder(
        in_channels=state["conv1_1.weight"].shape[1],
        channels=[state[f"conv{stage}_1.weight"].shape[0] for stage in range(1, 6)],
    )
    return Conversion(SegNet(encoder, state["conv1_1_D.weight"].shape[0]), tensors, unused)


def _convert_basic(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        match = re.fullmatch(r"conv(_decode)?(\d)(_bn)?\.(\w+)", name)
        if match is None:
            tensors[name.replace("conv_classifier.", "classify.")] = tensor
            continue
        decode, number, norm, leaf = match.groups()
        stage = f"decoder.{4 - int(number)}" if decode else f"encoder.{int(number) - 1}"  # decoding starts at 4
        tensors[f"{stage}.{1 if norm else 0}.{leaf}"] = tensor
    channels, in_channels = state["conv1.weight"].shape[:2]
    network = SegNetBasic(state["conv_classifier.weight"].shape[0], in_channels=in_channels, channels=channels)
    return Conversion(network, tensors)


SOURCES = (
    Source(
        ("alexgkendall/SegNet-Tutorial",),
        "segnet",
        lambda state: {"conv1_1_bn.weight", "conv1_1_D.weight"} <= state.keys(),
        convert_segnet,
    ),
    Source(
        ("alexgkendall/SegNet-Tutorial",),
        "segnet_basic",
        lambda state: {"conv_decode4.weight", "conv_classifier.weight"} <= state.keys(),
        _convert_basic,
    ),
)
