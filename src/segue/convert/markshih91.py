"""Checkpoints of markshih91/refinenet_pytorch, which a tutorial on RefineNet walks through: classes and depth.

Its `seg` is the sigmoid of this network's logits, `output.probabilities`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from segue.backbones import TimmBackbone
from segue.convert.reference import Conversion, Rule, Source, rename
from segue.convert.thomasjpfan import BACKBONE_RULES, backbone_shape, cascade_rules, count_links
from segue.models.refinenet import DepthRefineNet

NAMES = ("markshih91/refinenet_pytorch",)

RULES: list[Rule] = [
    *cascade_rules(0),
    (r"segBranch\.", "classify."),
    (r"depthBranch\.", "depth."),
    *BACKBONE_RULES,
]


def _recognise(state: Mapping[str, Tensor]) -> bool:
    return "segBranch.2.weight" in state


def _convert(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    tensors, unused = rename(state, RULES)
    shape = backbone_shape(state)
    network = DepthRefineNet(
        TimmBackbone(shape.name, in_channels=shape.in_channels, width=shape.width),
        tensors["classify.2.weight"].shape[0],
        channels=tensors["classify.2.weight"].shape[1],
        crp_links=count_links(state),
        # The class with improved pooling has the convolution at the first place of each link.
        conv_first="refinenet4.crp.block0.0.weight" in state,
    )
    return Conversion(network, tensors, unused)


SOURCES = (Source(NAMES, "refinenet", _recognise, _convert),)
