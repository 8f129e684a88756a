"""Checkpoints of DrSleep/refinenet-pytorch, the port that RefineNet's authors point to, with their own weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from segue.backbones import TimmBackbone
from segue.convert.reference import Conversion, ConversionError, Rule, Source, rename
from segue.convert.resnet import resnet_shape
from segue.models.refinenet import RefineNet

NAMES = ("DrSleep/refinenet-pytorch",)

RULES: list[Rule] = [
    (r"fc\.", None),  # ImageNet's classifier
    (r"clf_conv\.", "classify."),
    (r"(conv1|bn1|layer\d)\.", r"backbone.body.\1."),
]
for block in range(4):  # their stages count from 1, from the coarsest
    stage, own = block + 1, f"cascade.blocks.{block}."
    RULES += [
        (rf"p_ims1d2_outl{stage}_dimred\.", f"{own}adapt.0.0."),
        (rf"adapt_stage{stage}_b\.0\.(\d)_conv\.", rf"{own}adapt.0.\1.conv1."),
        (rf"adapt_stage{stage}_b\.0\.(\d)_conv_relu_varout_dimred\.", rf"{own}adapt.0.\1.conv2."),
        # A fusion's convolution of the coarser path is called after the block that the path comes from.
        (rf"mflow_conv_g{stage}_b3_joint_varout_dimred\.", f"cascade.blocks.{block + 1}.fuse.convolutions.0."),
        (rf"adapt_stage{stage}_b2_joint_varout_dimred\.", f"{own}fuse.convolutions.1."),
    ]
    for link in range(4):
        RULES += [
            (rf"mflow_conv_g{stage}_pool\.0\.{link + 1}_outvar_dimred\.", f"{own}pool.convolutions.{link}."),
            (rf"mflow_conv_g{stage}_b\.0\.{link + 1}_conv\.", f"{own}refine.{link}.conv1."),
            (rf"mflow_conv_g{stage}_b\.0\.{link + 1}_conv_relu_varout_dimred\.", f"{own}refine.{link}.conv2."),
        ]


def _recognise(state: Mapping[str, Tensor]) -> bool:
    return "p_ims1d2_outl1_dimred.weight" in state


def _convert(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    if state["p_ims1d2_outl1_dimred.weight"].shape[-1] == 1:
        raise ConversionError(
            "these are light-weight RefineNet's tensors (DrSleep/light-weight-refinenet), other blocks under the names "
            f"of {NAMES[0]}; it is not known here"
        )
    tensors, unused = rename(state, RULES)
    shape = resnet_shape(state)
    network = RefineNet(
        TimmBackbone(shape.name, in_channels=shape.in_channels, width=shape.width),
        tensors["classify.weight"].shape[0],
        channels=tensors["cascade.blocks.1.adapt.0.0.weight"].shape[0],
        crp_links=sum(bool(re.match(r"mflow_conv_g1_pool\.0\.\d+_outvar_dimred\.weight", name)) for name in state),
    )
    return Conversion(network, tensors, unused)


SOURCES = (Source(NAMES, "refinenet", _recognise, _convert),)
