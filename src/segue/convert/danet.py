"""Checkpoints of DANet's authors (junfu1115/DANet), and of zhanghang1989/PyTorch-Encoding, which theirs grew from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from segue.backbones import TimmBackbone
from segue.backbones.timm import lay_out
from segue.convert.reference import Conversion, ConversionError, Rule, Source, rename
from segue.convert.resnet import resnet_shape
from segue.models.danet import DANet

NAMES = ("junfu1115/DANet", "zhanghang1989/PyTorch-Encoding")

RULES: list[Rule] = [
    (r"pretrained\.fc\.", None),  # ImageNet's classifier
    (r"auxlayer\.", None),  # built by the code of 2018, never called
    (r"pretrained\.", "backbone.body."),  # the names below are timm's, too
    (r"head\.conv5a\.", "pam_in."),
    (r"head\.conv5c\.", "cam_in."),
    (r"head\.conv51\.", "pam_out."),
    (r"head\.conv52\.", "cam_out."),
    (r"head\.conv6\.", "classify_pam."),
    (r"head\.conv7\.", "classify_cam."),
    (r"head\.conv8\.", "classify_sum."),
    (r"head\.sa\.(query|key|value)_conv\.", r"pam.\1."),
    (r"head\.sa\.gamma", "pam.alpha"),
    (r"head\.sc\.gamma", "cam.beta"),
]


def build_backbone(state: Mapping[str, Tensor], args: Mapping[str, Any], prefix: str = "") -> TimmBackbone:
    """The ResNet of `encoding.models.backbone` for tensors by its names after `prefix`, not yet filled.

    args: its constructor's. `dilated`, or else `os`, or else `dilation` make the output stride: either `dilated=True`
    or 8 or a dilation of 4 makes it 8; 16 or a dilation of 2 makes it 16. With `multi_grid`, the last stage's blocks
    have the dilations of `multi_dilation` in turn, the first one too; without, the first block of a dilated stage has
    half its stage's. A basic block's second convolution has its stage's dilation in any case. The stem is read from the
    tensors.
    """
    shape = resnet_shape(state, prefix)
    for name, known in (("os", (8, 16, 32)), ("dilation", (1, 2, 4))):
        if args.get(name, known[0]) not in known:
            raise ConversionError(f"{name} = {args[name]!r}: it has to be {known[0]}, {known[1]} or {known[2]}")
    dilation = {8: 4, 16: 2}.get(args.get("os", 32), args.get("dilation", 1))
    output_stride = 8 if args.get("dilated", False) or dilation == 4 else 16 if dilation == 2 else 32
    if not args.get("multi_grid", False):
        return TimmBackbone(shape.name, in_channels=shape.in_channels, width=shape.width, output_stride=output_stride)
    rates = args.get("multi_dilation")
    if output_stride != 8 or not rates:
        raise ConversionError(f"multi_grid needs output stride 8 and multi_dilation; here {output_stride} and {rates}")
    if not isinstance(rates, list | tuple) or not all(isinstance(rate, int) and rate > 0 for rate in rates):
        raise ConversionError(f"multi_dilation = {rates!r}: it has to be a list of the last stage's dilations")
    backbone = TimmBackbone(shape.name, in_channels=shape.in_channels, width=shape.width, output_stride=8)
    third, last = shape.blocks[2:]
    dilations = [
        *([1] * blocks for blocks in shape.blocks[:2]),
        [1, *[2] * (third - 1)],
        [rates[index % len(rates)] for index in range(last)],
    ]
    lay_out(backbone, (1, 2, 1, 1), dilations)
    return backbone


def _recognise(state: Mapping[str, Tensor]) -> bool:
    return "head.sa.query_conv.weight" in state


def _convert(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    tensors, unused = rename(state, RULES)
    for name in ("pam.alpha", "cam.beta"):
        tensors[name] = tensors[name].reshape(())  # of shape (1) there
    query = tensors["pam.query.weight"]
    network = DANet(
        # The segmentation networks dilate unless told otherwise.
        build_backbone(state, {"dilated": True, **args}, "pretrained."),
        tensors["classify_sum.1.weight"].shape[0],
        channels=query.shape[1],
        attention_channels=query.shape[0],
    )
    return Conversion(network, tensors, unused)


SOURCES = (Source(NAMES, "danet", _recognise, _convert),)
