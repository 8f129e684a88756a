"""Checkpoints of lxtGH/dfn_seg, whose DFN a tutorial prints: as many channels as classes everywhere.

The repository's own ResNet lacks the layers that its DFN takes from it: conv1, bn1, relu1, conv3, bn3, relu3 of a deep
stem, without its second convolution. Such a stem of two convolutions is built here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from segue.backbones import TimmBackbone
from segue.convert.reference import Conversion, Rule, Source, rename
from segue.convert.resnet import resnet_shape
from segue.models.dfn import NarrowDFN

NAMES = ("lxtGH/dfn_seg",)

BODY = "backbone.body."
RULES: list[Rule] = [
    (r"resnet_features\.", None),  # the layers below under the name of the whole ResNet, and ImageNet's classifier
    (r"layer0\.([01])\.", rf"{BODY}conv1.\1."),
    (r"layer0\.3\.", f"{BODY}conv1.3."),
    (r"layer0\.4\.", f"{BODY}bn1."),
    (r"layer1\.1\.", f"{BODY}layer1."),
    (r"layer([234])\.", rf"{BODY}layer\1."),
    (r"out_conv\.", "smooth.context.project."),
]
for index in range(4):
    stage = 4 - index  # of the Smooth Network's parts, all but rrb_u are numbered from the finest stage
    RULES += [
        (rf"rrb_d_{stage}\.", f"smooth.before.{index}."),
        (rf"cab{stage}\.conv1\.", f"smooth.attention.{index}.attend.0."),
        (rf"cab{stage}\.conv2\.", f"smooth.attention.{index}.attend.2."),
        (rf"rrb_u_{index + 1}\.", f"smooth.after.{index}."),
        (rf"rrb_db_{index + 1}\.", f"border.before.{index}."),
        (rf"rrb_trans_{index + 1}\.", f"border.after.{index}."),
    ]
RRB_RULES: list[Rule] = [
    (r"((?:smooth|border)\.(?:before|after)\.\d)\.conv1\.", r"\1.unify."),
    (r"((?:smooth|border)\.(?:before|after)\.\d)\.conv2\.", r"\1.residual.0."),
    (r"((?:smooth|border)\.(?:before|after)\.\d)\.bn\.", r"\1.residual.1."),
    (r"((?:smooth|border)\.(?:before|after)\.\d)\.conv3\.", r"\1.residual.3."),
]


def _recognise(state: Mapping[str, Tensor]) -> bool:
    return "rrb_trans_1.conv1.weight" in state


def _convert(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    tensors, unused = rename(state, RULES)
    tensors, _ = rename(tensors, RRB_RULES)
    for index in range(4):
        attend = f"smooth.attention.{index}.attend."
        # 1x1 convolutions of pooled features there; and the coarser stage's channels come first.
        high, low = tensors[f"{attend}0.weight"].flatten(1).chunk(2, dim=1)
        tensors[f"{attend}0.weight"] = torch.cat([low, high], dim=1)
        tensors[f"{attend}2.weight"] = tensors[f"{attend}2.weight"].flatten(1)
    shape = resnet_shape({name.removeprefix(BODY): t for name, t in tensors.items() if name.startswith(BODY)})
    backbone = TimmBackbone(shape.name, in_channels=shape.in_channels, width=shape.width)
    stem = backbone.body.conv1
    backbone.body.conv1 = nn.Sequential(*stem[:3], stem[6])
    network = NarrowDFN(backbone, tensors["smooth.context.project.weight"].shape[0])
    return Conversion(network, tensors, unused)


SOURCES = (Source(NAMES, "dfn_narrow", _recognise, _convert),)
