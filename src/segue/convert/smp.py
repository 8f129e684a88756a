"""Checkpoints of segmentation_models.pytorch: Unet, DeepLabV3, PSPNet and UPerNet.

On its own ResNets and ResNeXts, which their tensors tell, and on timm's encoders (`tu-...`), which need their
`encoder_name`. Its other encoders hand out maps that timm's of the same names do not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import timm
from torch import Tensor

from segue.backbones import TimmBackbone
from segue.backbones.timm import keep_first_maps
from segue.convert.reference import Conversion, ConversionError, Rule, Source, rename, two_scores
from segue.convert.resnet import resnet_shape, stage_widths
from segue.convert.torchvision import aspp_rules
from segue.models.deeplabv3 import DeepLabV3
from segue.models.network import Network
from segue.models.pspnet import LightPPM, PSPNet
from segue.models.unet import EncoderUNet
from segue.models.upernet import UPerNet

NAMES = ("qubvel-org/segmentation_models.pytorch", "segmentation_models_pytorch")

NORM_ARGUMENTS = ("decoder_use_norm", "decoder_use_batchnorm", "psp_use_batchnorm")  # the last two before version 0.5

Tensors = Mapping[str, Tensor]
Arguments = Mapping[str, Any]


def build_encoder(state: Tensors, args: Arguments, *, depth: int, output_stride: int = 32) -> TimmBackbone:
    """The encoder of tensors named `encoder...`, its first `depth` maps; not yet filled.

    A dilated stage of smp's own ResNets is dilated in every convolution: in both of a basic block, and in the first
    block.
    """
    if _is_timm(state):
        return _timm_encoder(state, args, depth, output_stride)
    if not {"encoder.conv1.weight", "encoder.layer1.0.conv1.weight"} <= state.keys():
        named = f" ({args['encoder_name']})" if "encoder_name" in args else ""
        raise ConversionError(f"the encoder{named} is none of those known here: smp's ResNets and ResNeXts, and tu-...")
    shape = resnet_shape(state, "encoder.")
    encoder = TimmBackbone(
        shape.name,
        in_channels=shape.in_channels,
        width=shape.width,
        output_stride=output_stride,
        contract_dilation=False,
    )
    keep_first_maps(encoder, depth)
    return encoder


def _is_timm(state: Tensors) -> bool:
    return any(name.startswith("encoder.model.") for name in state)


def _timm_encoder(state: Tensors, args: Arguments, depth: int, output_stride: int) -> TimmBackbone:
    """An encoder that smp takes from timm; dilated, it is as timm dilates it."""
    name = re.sub(r"^(tu|timm)-", "", args.get("encoder_name", ""))
    if not name:
        raise ConversionError("the encoder is one of timm's: give its name as `encoder_name`")
    first = next(tensor for key, tensor in state.items() if key.startswith("encoder.model.") and tensor.ndim == 4)
    encoder = TimmBackbone(name, in_channels=first.shape[1], output_stride=output_stride)
    if encoder.resnet and output_stride != 32:  # timm averages a dilated stage's pooled shortcut over 2x2 pixels
        encoder.body = timm.create_model(
            name, features_only=True, in_chans=encoder.in_channels, output_stride=output_stride
        )
    maps = depth if encoder.strides[0] == 2 else depth - 1  # of one that begins at 4, smp counts an empty map at 2
    if encoder.resnet:
        keep_first_maps(encoder, maps)
    elif maps != len(encoder.channels):
        raise ConversionError(f"{name} at encoder_depth = {depth}: it is known in full only")
    return encoder


def encoder_rules(depth: int) -> list[Rule]:
    """Names of the encoder's tensors: those behind its first `depth` maps are there, but never computed with."""
    behind: list[Rule] = [(rf"encoder\.layer{stage}\.", None) for stage in range(depth, 5)]
    return [*behind, (r"encoder\.(model\.)?", "backbone.body.")]


def depth_of(state: Tensors, args: Arguments, channels: int, default: int) -> int:
    """How many maps the encoder computes when its last one has `channels`: smp's `encoder_depth`."""
    if _is_timm(state):
        return int(args.get("encoder_depth", default))
    widths = stage_widths(state, "encoder.")
    if channels not in widths:
        raise ConversionError(f"the decoder reads {channels} channels; the encoder's stages have {widths}")
    return widths.index(channels) + 2


def unet(state: Tensors, args: Arguments) -> tuple[Network[Any], Sequence[Rule]]:
    """Unet."""
    if args.get("decoder_interpolation", "nearest") != "nearest":
        raise ConversionError(f"decoder_interpolation = {args['decoder_interpolation']!r}: only 'nearest' is known")
    channels = [
        tensor.shape[0]
        for name, tensor in state.items()
        if re.fullmatch(r"decoder\.blocks\.\d+\.conv1\.0\.weight", name)
    ]
    depth = len(channels)
    network = EncoderUNet(build_encoder(state, args, depth=depth), _num_classes(state), channels=channels)
    rules: list[Rule] = [
        *encoder_rules(depth),
        (r"decoder\.blocks\.(\d+)\.conv1\.", r"up.\1.0."),
        (r"decoder\.blocks\.(\d+)\.conv2\.", r"up.\1.1."),
    ]
    return network, rules


def deeplabv3(state: Tensors, args: Arguments) -> tuple[Network[Any], Sequence[Rule]]:
    """DeepLabV3; before version 0.4 its decoder was a plain sequence."""
    aspp = "decoder.aspp." if "decoder.aspp.project.0.weight" in state else "decoder.0."
    depth = depth_of(state, args, state[f"{aspp}convs.0.0.weight"].shape[1], default=5)
    separable = f"{aspp}convs.1.0.0.weight" in state
    network = DeepLabV3(
        build_encoder(state, args, depth=depth, output_stride=args.get("encoder_output_stride", 8)),
        _num_classes(state),
        rates=tuple(args.get("decoder_atrous_rates", (12, 24, 36))),
        channels=state[f"{aspp}project.0.weight"].shape[0],
        dropout=args.get("decoder_aspp_dropout", 0.5),
        extra_convolution=True,
        separable=separable,
        align_corners=True,
    )
    old = re.escape(aspp)
    separable_rules: list[Rule] = [
        (rf"{old}convs\.([1-3])\.0\.([01])\.", r"aspp.branches.\1.\2."),
        (rf"{old}convs\.([1-3])\.1\.", r"aspp.branches.\1.2."),
    ]
    rules: list[Rule] = [
        *encoder_rules(depth),
        *(separable_rules if separable else []),
        *aspp_rules(state, aspp),
        (r"decoder\.(conv|1)\.", "extra.0."),
        (r"decoder\.(bn|2)\.", "extra.1."),
    ]
    return network, rules


def pspnet(state: Tensors, args: Arguments) -> tuple[Network[Any], Sequence[Rule]]:
    """PSPNet, by default on the map of stride 8 of an encoder that ends there."""
    projections = [
        tensor for name, tensor in state.items() if re.fullmatch(r"decoder\.psp\.blocks\.\d\.pool\.1\.0\.weight", name)
    ]
    in_channels, channels = projections[0].shape[1], state["decoder.conv.0.weight"].shape[0]
    depth = depth_of(state, args, in_channels, default=3)
    network = PSPNet(
        build_encoder(state, args, depth=depth),
        _num_classes(state),
        channels=channels,
        ppm=LightPPM(in_channels, channels),
        classifier_kernel=3,
        dropout=args.get("psp_dropout", 0.2),
        auxiliary=0.0,
        align_corners=True,
    )
    rules: list[Rule] = [
        *encoder_rules(depth),
        (r"decoder\.psp\.blocks\.(\d)\.pool\.1\.", r"ppm.project.\1."),
        (r"decoder\.conv\.", "ppm.fuse."),
    ]
    return network, rules


def upernet(state: Tensors, args: Arguments) -> tuple[Network[Any], Sequence[Rule]]:
    """UPerNet as it is since version 0.5; its levels run from coarse to fine."""
    finer = len({name.split(".")[2] for name in state if name.startswith("decoder.fpn_lateral_blocks.")})
    depth = finer + 2
    network = UPerNet(
        build_encoder(state, args, depth=depth),
        _num_classes(state),
        channels=state["decoder.fusion_block.0.weight"].shape[0],
        norm=True,
        dropout=0.0,
        auxiliary=0.0,
        align_corners=True,
    )
    levels: list[Rule] = []
    for index in range(finer):
        own = finer - 1 - index
        levels.append((rf"decoder\.fpn_lateral_blocks\.{index}\.conv_norm_relu\.", f"pyramid.lateral.{own}."))
        levels.append((rf"decoder\.fpn_conv_blocks\.{index}\.", f"pyramid.smooth.{own}."))
    rules: list[Rule] = [
        *encoder_rules(depth),
        *levels,
        (r"decoder\.feature_norms\.", "norm."),
        (r"decoder\.psp\.blocks\.(\d)\.1\.", r"pyramid.ppm.project.\1."),
        (r"decoder\.psp\.out_conv\.", "pyramid.ppm.fuse."),
        (r"decoder\.fusion_block\.", "pyramid.fuse."),
    ]
    return network, rules


def _num_classes(state: Tensors) -> int:
    """At least 2: a single score is that of the foreground, see `_convert`."""
    return max(2, state["segmentation_head.0.weight"].shape[0])


def _check_norm(state: Tensors, args: Arguments) -> None:
    """BatchNorm with its usual settings is what the networks have here."""
    name = next((name for name in NORM_ARGUMENTS if name in args), NORM_ARGUMENTS[0])
    norm = args.get(name, "batchnorm")
    if norm not in (True, "batchnorm", {"type": "batchnorm"}):
        raise ConversionError(f"{name} = {norm!r}: only 'batchnorm' is known")
    if not any(re.match(r"decoder\..*\.running_mean", name) for name in state):
        raise ConversionError("the decoder has no BatchNorm (decoder_use_norm): only 'batchnorm' is known")


Build = Callable[[Tensors, Arguments], tuple[Network[Any], Sequence[Rule]]]


def _source(network: str, mark: str, build: Build) -> Source:
    """A kind of network, known by the tensors whose names match `mark`."""

    def recognise(state: Tensors) -> bool:
        return "segmentation_head.0.weight" in state and any(re.fullmatch(mark, name) for name in state)

    def convert(state: Tensors, args: Arguments) -> Conversion:
        _check_norm(state, args)
        built, rules = build(state, args)
        tensors, unused = rename(state, [*rules, (r"segmentation_head\.0\.", "classify.")])
        two_scores(tensors, "classify")
        return Conversion(built, tensors, unused)

    return Source(NAMES, network, recognise, convert)


SOURCES = (
    _source("unet", r"decoder\.blocks\.0\.conv1\.0\.weight", unet),
    _source("deeplabv3", r"decoder\.(aspp|0)\.project\.0\.weight", deeplabv3),
    _source("pspnet", r"decoder\.psp\.blocks\.0\.pool\.1\.0\.weight", pspnet),
    _source("upernet", r"decoder\.fusion_block\.0\.weight", upernet),
)
