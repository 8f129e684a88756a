"""Checkpoints of ycszen/TorchSeg, by DFN's first author: DFN.

Its border loss has a sigmoid where the logit belongs, which its author has confirmed and never mended; the network here
has the focal loss that was meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from segue.backbones import TimmBackbone
from segue.convert.reference import Conversion, Rule, Source, rename
from segue.convert.resnet import resnet_shape
from segue.models.dfn import DFN

NAMES = ("ycszen/TorchSeg", "yu-changqian/TorchSeg")  # its author's account has had both names

RRB_RULES: list[Rule] = [
    (r"(.*)\.conv_1x1\.", r"\1.unify."),
    (r"(.*)\.cbr\.conv\.", r"\1.residual.0."),
    (r"(.*)\.cbr\.bn\.", r"\1.residual.1."),
    (r"(.*)\.conv_refine\.", r"\1.residual.3."),
]
RULES: list[Rule] = [
    (r"backbone\.fc\.", None),  # ImageNet's classifier
    (r"backbone\.", "backbone.body."),  # timm's names
    (r"global_context\.1\.conv\.", "smooth.context.project.0."),
    (r"global_context\.1\.bn\.", "smooth.context.project.1."),
    (r"smooth_pre_rrbs\.", "smooth.before."),
    (r"smooth_aft_rrbs\.", "smooth.after."),
    (r"cabs\.(\d)\.channel_attention\.fc\.", r"smooth.attention.\1.attend."),
    (r"border_pre_rrbs\.", "border.before."),
    (r"border_aft_rrbs\.0\.", None),  # there is nothing to add to stage 2 that it could refine
    *((rf"border_aft_rrbs\.{stage}\.", f"border.after.{stage - 1}.") for stage in (1, 2, 3)),
    (r"(smooth|border)_heads\.(\d)\.rrb\.", r"\1_heads.\2.0."),
    (r"(smooth|border)_heads\.(\d)\.conv\.", r"\1_heads.\2.1."),
]


def _recognise(state: Mapping[str, Tensor]) -> bool:
    return "smooth_pre_rrbs.0.conv_1x1.weight" in state


def _convert(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    tensors, unused = rename(state, RULES)
    tensors, _ = rename(tensors, RRB_RULES)
    shape = resnet_shape(state, "backbone.")
    network = DFN(
        TimmBackbone(shape.name, in_channels=shape.in_channels, width=shape.width),
        tensors["smooth_heads.0.1.weight"].shape[0],
        channels=tensors["smooth.context.project.0.weight"].shape[0],
        border_channels=tensors["border.before.0.unify.weight"].shape[0],
        border=args.get("lambda", 0.1),
        void_borders=True,
    )
    return Conversion(network, tensors, unused)


SOURCES = (Source(NAMES, "dfn", _recognise, _convert),)
