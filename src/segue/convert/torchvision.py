"""Checkpoints of torchvision.models.segmentation: FCN and DeepLabv3 on ResNets, and DeepLabv3's head alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from segue.backbones import Features, TimmBackbone
from segue.convert.reference import Conversion, Rule, Source, rename, two_scores
from segue.convert.resnet import resnet_shape
from segue.models.deeplabv3 import DeepLabV3
from segue.models.fcn_resnet import FCNResNet

NAMES = ("torchvision.models.segmentation",)

AUXILIARY_WEIGHT = 0.5  # of its reference training script

RULES: list[Rule] = [
    (r"backbone\.", "backbone.body."),  # timm's ResNets have torchvision's names
    (r"aux_classifier\.([01])\.", r"auxiliary.0.\1."),
    (r"aux_classifier\.4\.", "auxiliary.2."),
]
FCN_RULES: list[Rule] = [
    (r"classifier\.([01])\.", r"head.0.\1."),
    (r"classifier\.4\.", "head.2."),
]


def aspp_rules(state: Mapping[str, Tensor], prefix: str) -> list[Rule]:
    """Rules for the ASPP whose tensors' names begin with `prefix`: its last branch is the image pooling."""
    old = re.escape(prefix)
    indices = [re.match(old + r"convs\.(\d+)\.", name) for name in state]
    last = max(int(match[1]) for match in indices if match)
    return [
        (rf"{old}convs\.{last}\.1\.", "aspp.image_pooling.project.0."),
        (rf"{old}convs\.{last}\.2\.", "aspp.image_pooling.project.1."),
        (rf"{old}convs\.", "aspp.branches."),
        (rf"{old}project\.", "aspp.project."),
    ]


def _backbone(state: Mapping[str, Tensor]) -> TimmBackbone:
    shape = resnet_shape(state, "backbone.")
    return TimmBackbone(shape.name, in_channels=shape.in_channels, width=shape.width, output_stride=8)


def _auxiliary(state: Mapping[str, Tensor]) -> tuple[float, int | None]:
    """Weight and channels of the auxiliary head, which a checkpoint has or has not."""
    convolution = state.get("aux_classifier.0.weight")
    return (0.0, None) if convolution is None else (AUXILIARY_WEIGHT, convolution.shape[0])


def _classes(tensors: dict[str, Tensor], classifier: str) -> int:
    """How many there are; a network of one score, which is for a sigmoid, becomes one of two classes."""
    if "auxiliary.2.weight" in tensors:
        two_scores(tensors, "auxiliary.2")
    return two_scores(tensors, classifier)


def _convert_fcn(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    tensors, unused = rename(state, [*RULES, *FCN_RULES])
    auxiliary, auxiliary_channels = _auxiliary(state)
    network = FCNResNet(
        _backbone(state),
        _classes(tensors, "head.2"),
        auxiliary=auxiliary,
        auxiliary_channels=auxiliary_channels,
    )
    return Conversion(network, tensors, unused)


def _deeplab_rules(state: Mapping[str, Tensor], prefix: str) -> list[Rule]:
    old = re.escape(prefix)
    return [
        *aspp_rules(state, f"{prefix}0."),
        (rf"{old}1\.", "extra.0."),
        (rf"{old}2\.", "extra.1."),
        (rf"{old}4\.", "classify."),
    ]


def _convert_deeplabv3(
    state: Mapping[str, Tensor], args: Mapping[str, Any], prefix: str, backbone: TimmBackbone | Features
) -> Conversion:
    tensors, unused = rename(state, [*RULES, *_deeplab_rules(state, prefix)])
    auxiliary, auxiliary_channels = _auxiliary(state)
    network = DeepLabV3(
        backbone,
        _classes(tensors, "classify"),
        rates=tuple(args.get("atrous_rates", (12, 24, 36))),
        channels=state[f"{prefix}1.weight"].shape[0],
        dropout=0.5,
        extra_convolution=True,
        auxiliary=auxiliary,
        auxiliary_channels=auxiliary_channels,
    )
    return Conversion(network, tensors, unused)


def _convert_network(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    return _convert_deeplabv3(state, args, "classifier.", _backbone(state))


def _convert_head(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    """A DeepLabHead alone: the network's images are the feature maps that it reads."""
    return _convert_deeplabv3(state, args, "", Features(state["0.convs.0.0.weight"].shape[1]))


SOURCES = (
    Source(
        NAMES,
        "fcn",
        lambda state: "backbone.conv1.weight" in state and "classifier.0.weight" in state,
        _convert_fcn,
    ),
    Source(NAMES, "deeplabv3", lambda state: "classifier.0.convs.0.0.weight" in state, _convert_network),
    Source(NAMES, "deeplabv3", lambda state: "0.convs.0.0.weight" in state, _convert_head),
)
