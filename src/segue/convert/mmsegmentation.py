"""Checkpoints of open-mmlab/mmsegmentation: a ResNet or ResNeXt, a decode head, often an auxiliary head.

The backbone, the auxiliary head and the configuration are read here once; a decode head is one entry in `HEADS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from segue.backbones import Backbone, Features, TimmBackbone
from segue.backbones.timm import lay_out, use_caffe_layout
from segue.convert.reference import Conversion, ConversionError, Rule, Source, rename, two_scores
from segue.convert.resnet import resnet_shape, stage_widths
from segue.labels import IGNORE
from segue.losses import cross_entropy
from segue.models.auxiliary import AuxiliaryNetwork
from segue.models.danet import DANet
from segue.models.deeplabv3 import DeepLabV3
from segue.models.fcn_resnet import ConvolutionHead, FCNResNet
from segue.models.network import Criterion, Network
from segue.models.ocrnet import OCRNet
from segue.models.pspnet import PSPNet
from segue.models.upernet import UPerNet

NAMES = ("open-mmlab/mmsegmentation",)


def mean_over_all_pixels(logits: Tensor, target: Tensor) -> Tensor:
    """mmsegmentation's cross entropy: the sum over labelled pixels divided by the number of all pixels.

    That is its default, `avg_non_ignore=False`; `segue.losses.cross_entropy` divides by the labelled ones.
    """
    return F.cross_entropy(logits.float(), target, ignore_index=IGNORE, reduction="sum") / target.numel()


@dataclass(frozen=True)
class Segmentor:
    """A checkpoint taken apart: what the builder of a decode head works with.

    backbone: built, not yet filled.
    state: the checkpoint's tensors, by mmsegmentation's names.
    heads: configurations of the decode heads; one, or two in a cascade, which the last one ends.
    num_classes: read from the last head's classifier.
    auxiliary: weight of the auxiliary head's loss, 0 without such a head. auxiliary_channels: its width.
    criterion: mmsegmentation's loss of one map.
    """

    backbone: Backbone
    state: Mapping[str, Tensor]
    heads: Sequence[Mapping[str, Any]]
    num_classes: int
    auxiliary: float
    auxiliary_channels: int | None
    criterion: Criterion

    @property
    def head(self) -> Mapping[str, Any]:
        """Configuration of the last decode head."""
        return self.heads[-1]

    @property
    def align_corners(self) -> bool:
        """Of the enlargement of the scores."""
        return bool(self.head.get("align_corners", False))

    @property
    def dropout(self) -> float:
        """Before the classifier."""
        return float(self.head.get("dropout_ratio", 0.1))


@dataclass(frozen=True)
class Head:
    """A kind of decode head.

    network: the name of the network that it makes, as in `segue.models.MODELS`.
    mark: beginning of a tensor's name (a regular expression) that this head alone has.
    rules: mmsegmentation's names of its tensors -> this package's; see `rename`.
    build: the network for a checkpoint.
    dilated: whether the backbone is, in mmsegmentation's own files for this head.
    reads: the first convolution on the one map that it reads; None for a head of several maps, which cannot be
        loaded alone.
    """

    network: str
    mark: str
    rules: Sequence[Rule]
    build: Callable[[Segmentor], Network[Any]]
    dilated: bool = True
    reads: str | None = None


def conv_module(old: str, new: str) -> list[Rule]:
    """Rules for one of mmcv's ConvModules (convolution, BN), `old`, that is a ConvBNReLU, `new`, here."""
    return [(rf"{old}\.conv\.", rf"{new}.0."), (rf"{old}\.bn\.", rf"{new}.1.")]


BACKBONE_RULES: list[Rule] = [
    (r"backbone\.stem\.7\.", r"backbone.body.bn1."),  # the deep stem's last BN; its convolutions are 0, 3 and 6
    (r"backbone\.stem\.", r"backbone.body.conv1."),
    (r"backbone\.", r"backbone.body."),
]


def fcn_rules(old: str, new: str) -> list[Rule]:
    """Rules for an FCNHead, `old`, that is a ConvolutionHead, `new`, here."""
    return [
        *conv_module(rf"{old}\.convs\.(\d+)", rf"{new}.convolutions.\1"),
        *conv_module(rf"{old}\.conv_cat", f"{new}.join"),
        (rf"{old}\.conv_seg\.", f"{new}.classify."),
    ]


AUXILIARY_RULES: list[Rule] = [
    *conv_module(r"auxiliary_head\.convs\.0", r"auxiliary.0"),
    (r"auxiliary_head\.conv_seg\.", r"auxiliary.2."),
]


def danet(segmentor: Segmentor) -> DANet:
    """DAHead."""
    query = segmentor.state["decode_head.pam.query_project.weight"]
    return DANet(
        segmentor.backbone,
        segmentor.num_classes,
        channels=query.shape[1],
        attention_channels=query.shape[0],
        dropout=segmentor.dropout,
        auxiliary=segmentor.auxiliary,
        auxiliary_channels=segmentor.auxiliary_channels,
        align_corners=segmentor.align_corners,
        criterion=segmentor.criterion,
    )


def deeplabv3(segmentor: Segmentor) -> DeepLabV3:
    """ASPPHead; its first dilation, 1, stands for the 1x1 branch."""
    dilations = tuple(segmentor.head.get("dilations", (1, 6, 12, 18)))
    if dilations[0] != 1 or 1 in dilations[1:]:
        raise ConversionError(f"ASPPHead with dilations {dilations}: the first one, and no other, has to be 1")
    return DeepLabV3(
        segmentor.backbone,
        segmentor.num_classes,
        rates=dilations[1:],
        channels=segmentor.state["decode_head.bottleneck.conv.weight"].shape[0],
        dropout=segmentor.dropout,
        pool_first=True,
        project_kernel=3,
        auxiliary=segmentor.auxiliary,
        auxiliary_channels=segmentor.auxiliary_channels,
        align_corners=segmentor.align_corners,
        criterion=segmentor.criterion,
    )


def convolution_head(state: Mapping[str, Tensor], name: str, config: Mapping[str, Any]) -> ConvolutionHead:
    """The FCNHead called `name`; all but the dilation is read from its tensors."""
    first = state[f"{name}.convs.0.conv.weight"]
    return ConvolutionHead(
        first.shape[1],
        num_scores(state, name),
        first.shape[0],
        convolutions=sum(bool(re.fullmatch(rf"{name}\.convs\.\d+\.conv\.weight", tensor)) for tensor in state),
        kernel=first.shape[-1],
        dilation=config.get("dilation", 1),
        join=f"{name}.conv_cat.conv.weight" in state,
        dropout=config.get("dropout_ratio", 0.1),
    )


def num_scores(state: Mapping[str, Tensor], head: str) -> int:
    """Classes of a head, at least 2: a single score (`out_channels=1`) is that of the foreground."""
    return max(2, state[f"{head}.conv_seg.weight"].shape[0])


def fcn(segmentor: Segmentor) -> FCNResNet:
    """FCNHead."""
    head = convolution_head(segmentor.state, "decode_head", segmentor.head)
    return FCNResNet(
        segmentor.backbone,
        segmentor.num_classes,
        head=head,
        auxiliary=segmentor.auxiliary,
        auxiliary_channels=segmentor.auxiliary_channels,
        align_corners=segmentor.align_corners,
        criterion=segmentor.criterion,
    )


def pspnet(segmentor: Segmentor) -> PSPNet:
    """PSPHead."""
    return PSPNet(
        segmentor.backbone,
        segmentor.num_classes,
        channels=segmentor.state["decode_head.bottleneck.conv.weight"].shape[0],
        bins=_pool_scales(segmentor),
        dropout=segmentor.dropout,
        auxiliary=segmentor.auxiliary,
        auxiliary_channels=segmentor.auxiliary_channels,
        align_corners=segmentor.align_corners,
        criterion=segmentor.criterion,
    )


def upernet(segmentor: Segmentor) -> UPerNet:
    """UPerHead on all four stages."""
    return UPerNet(
        segmentor.backbone,
        segmentor.num_classes,
        channels=segmentor.state["decode_head.fpn_bottleneck.conv.weight"].shape[0],
        bins=_pool_scales(segmentor),
        dropout=segmentor.dropout,
        auxiliary=segmentor.auxiliary,
        auxiliary_channels=segmentor.auxiliary_channels,
        pyramid_corners=segmentor.align_corners,
        align_corners=segmentor.align_corners,
        criterion=segmentor.criterion,
    )


def _pool_scales(segmentor: Segmentor) -> tuple[int, ...]:
    return tuple(segmentor.head.get("pool_scales", (1, 2, 3, 6)))


def ocrnet(segmentor: Segmentor) -> OCRNet:
    """OCRHead, behind an FCNHead in a cascade."""
    state = segmentor.state
    return OCRNet(
        segmentor.backbone,
        segmentor.num_classes,
        channels=state["decode_head.1.bottleneck.conv.weight"].shape[0],
        transform_channels=state["decode_head.1.object_context_block.value_project.conv.weight"].shape[0],
        region_channels=state["decode_head.0.convs.0.conv.weight"].shape[0],
        region_scale=segmentor.head.get("scale", 1),
        dropout=segmentor.dropout,
        auxiliary=_loss(segmentor.heads[0]).get("loss_weight", 1.0) if len(segmentor.heads) > 1 else 0.4,
        align_corners=segmentor.align_corners,
        criterion=segmentor.criterion,
    )


HEADS: dict[str, Head] = {
    "DAHead": Head(
        "danet",
        r"decode_head\.pam\.",
        [
            *conv_module(r"decode_head\.pam_in_conv", "pam_in"),
            *conv_module(r"decode_head\.pam_out_conv", "pam_out"),
            *conv_module(r"decode_head\.cam_in_conv", "cam_in"),
            *conv_module(r"decode_head\.cam_out_conv", "cam_out"),
            (r"decode_head\.pam\.(query|key|value)_project\.", r"pam.\1."),
            (r"decode_head\.pam\.gamma\.scale", "pam.alpha"),
            (r"decode_head\.cam\.gamma\.scale", "cam.beta"),
            (r"decode_head\.pam_conv_seg\.", "classify_pam.1."),
            (r"decode_head\.cam_conv_seg\.", "classify_cam.1."),
            (r"decode_head\.conv_seg\.", "classify_sum.1."),
        ],
        danet,
        reads="pam_in_conv.conv.weight",
    ),
    "ASPPHead": Head(
        "deeplabv3",
        r"decode_head\.aspp_modules\.",
        [
            (r"decode_head\.aspp_modules\.(\d+)\.conv\.", r"aspp.branches.\1.0."),
            (r"decode_head\.aspp_modules\.(\d+)\.bn\.", r"aspp.branches.\1.1."),
            *conv_module(r"decode_head\.image_pool\.1", "aspp.image_pooling.project"),
            *conv_module(r"decode_head\.bottleneck", "aspp.project"),
            (r"decode_head\.conv_seg\.", "classify."),
        ],
        deeplabv3,
        reads="aspp_modules.0.conv.weight",
    ),
    "FCNHead": Head(
        "fcn",
        r"decode_head\.convs\.\d+\.conv\.",
        fcn_rules(r"decode_head", "head"),
        fcn,
        reads="convs.0.conv.weight",
    ),
    # Before PSPHead, whose tensors it has as well.
    "UPerHead": Head(
        "upernet",
        r"decode_head\.fpn_bottleneck\.",
        [
            *conv_module(r"decode_head\.psp_modules\.(\d+)\.1", r"pyramid.ppm.project.\1"),
            *conv_module(r"decode_head\.bottleneck", "pyramid.ppm.fuse"),
            *conv_module(r"decode_head\.lateral_convs\.(\d+)", r"pyramid.lateral.\1"),
            *conv_module(r"decode_head\.fpn_convs\.(\d+)", r"pyramid.smooth.\1"),
            *conv_module(r"decode_head\.fpn_bottleneck", "pyramid.fuse"),
            (r"decode_head\.conv_seg\.", "classify."),
        ],
        upernet,
        dilated=False,
    ),
    "PSPHead": Head(
        "pspnet",
        r"decode_head\.psp_modules\.",
        [
            *conv_module(r"decode_head\.psp_modules\.(\d+)\.1", r"ppm.project.\1"),
            *conv_module(r"decode_head\.bottleneck", "ppm.fuse"),
            (r"decode_head\.conv_seg\.", "classify."),
        ],
        pspnet,
        reads="psp_modules.0.1.conv.weight",
    ),
    "OCRHead": Head(
        "ocrnet",
        r"decode_head\.(1\.)?object_context_block\.",
        [
            *conv_module(r"decode_head\.0\.convs\.0", "regions.0"),
            (r"decode_head\.0\.conv_seg\.", "regions.2."),
            *conv_module(
                r"decode_head\.1\.object_context_block\.(query|key)_project\.(\d)", r"context.attention.\1.\2"
            ),
            *conv_module(r"decode_head\.1\.object_context_block\.(value|out)_project", r"context.attention.\1"),
            *conv_module(r"decode_head\.1\.object_context_block\.bottleneck", "context.fuse"),
            *conv_module(r"decode_head\.1\.bottleneck", "bottleneck"),
            (r"decode_head\.1\.conv_seg\.", "classify."),
        ],
        ocrnet,
    ),
}
"""Decode heads by their type in a configuration."""


def _recognise(head: Head, state: Mapping[str, Tensor]) -> bool:
    return "backbone.layer1.0.conv1.weight" in state and any(re.match(head.mark, name) for name in state)


def _convert(head: Head, state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    backbone_config, heads, auxiliary_config = read_config(args, head.dilated)
    _check_stage(head, heads[-1])
    _check_layers([backbone_config, *heads, auxiliary_config])
    auxiliary_convolution = state.get("auxiliary_head.convs.0.conv.weight")
    stage = 2 if auxiliary_convolution is None else _stage(state, auxiliary_convolution.shape[1], auxiliary_config)
    further = any(re.match(r"auxiliary_head\.(convs\.[1-9]|conv_cat)", name) for name in state)
    wide = auxiliary_convolution is not None and auxiliary_convolution.shape[-1] != 3
    plain = stage == 2 and not (further or wide or auxiliary_config.get("dilation", 1) != 1)
    auxiliary_rules = AUXILIARY_RULES if plain else fcn_rules(r"auxiliary_head", "auxiliary")
    tensors, unused = rename(state, [*head.rules, *BACKBONE_RULES, *auxiliary_rules])
    _double_single_scores(head, tensors)
    segmentor = Segmentor(
        backbone=build_backbone(tensors, backbone_config),
        state=state,
        heads=heads,
        num_classes=num_scores(state, "decode_head.1" if "decode_head.1.conv_seg.weight" in state else "decode_head"),
        auxiliary=0.0 if auxiliary_convolution is None else _loss(auxiliary_config).get("loss_weight", 1.0),
        auxiliary_channels=None if auxiliary_convolution is None else auxiliary_convolution.shape[0],
        criterion=cross_entropy if _loss(heads[-1]).get("avg_non_ignore", False) else mean_over_all_pixels,
    )
    network = head.build(segmentor)
    if not plain and isinstance(network, AuxiliaryNetwork | DANet):
        network.auxiliary = convolution_head(state, "auxiliary_head", auxiliary_config)
        network.auxiliary_map = stage - 4
    return Conversion(network, tensors, unused)


def _stage(state: Mapping[str, Tensor], channels: int, config: Config) -> int:
    """The backbone's stage, 0 to 3, that the auxiliary head reads: the one with so many channels."""
    widths = stage_widths(state, "backbone.")
    if channels not in widths:
        raise ConversionError(f"the auxiliary head reads {channels} channels; the backbone's stages have {widths}")
    stage = widths.index(channels)
    named = config.get("in_index", stage)
    if named not in (stage, stage - 4):
        raise ConversionError(f"the auxiliary head reads stage {stage} by its tensors, but in_index = {named}")
    return stage


def _check_stage(head: Head, config: Config) -> None:
    """Decode heads read the last stage, UPerHead all four."""
    index = config.get("in_index")
    known: Sequence[Any] = (None, [0, 1, 2, 3]) if head.network == "upernet" else (None, 3, -1)
    if (list(index) if isinstance(index, Sequence) else index) not in known:
        raise ConversionError(f"the decode head reads stage {index} (in_index); {known[1]} is known")


def _check_layers(configs: Sequence[Config]) -> None:
    """BatchNorm with its usual epsilon, and ReLU, are what the networks have here; tensors tell of neither."""
    for config in configs:
        norm, activation = config.get("norm_cfg") or {}, config.get("act_cfg") or {}
        if "BN" not in norm.get("type", "BN") or norm.get("eps", 1e-5) != 1e-5:
            raise ConversionError(f"norm_cfg = {norm}: only BatchNorm with eps = 1e-5 is known")
        if activation.get("type", "ReLU") != "ReLU":
            raise ConversionError(f"act_cfg = {activation}: only ReLU is known")


def _double_single_scores(head: Head, tensors: dict[str, Tensor]) -> None:
    """Two classes for each classifier of one score, in place.

    Not for OCRHead, which makes as many regions as there are scores: another one would change what it computes.
    """
    classifiers = [name for name in tensors if re.match(r"(.*\.)?classify(_\w+)?\.|auxiliary\.2\.", name)]
    single = {name.rpartition(".")[0] for name in classifiers if tensors[name].shape[0] == 1}
    if single and head.network == "ocrnet":
        raise ConversionError("an OCRHead with one score per pixel (out_channels=1): two classes are known")
    for name in single:
        two_scores(tensors, name)


def _recognise_alone(head: Head, state: Mapping[str, Tensor]) -> bool:
    return "conv_seg.weight" in state and any(re.match(head.mark, f"decode_head.{name}") for name in state)


def _convert_alone(head: Head, state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    """A decode head alone: the network's images are the feature map that it reads. args: the head's own."""
    if head.reads is None:
        raise ConversionError(
            f"a decode head of {head.network} alone reads several maps, not one picture: give it with its backbone"
        )
    _check_layers([args])
    channels = state[head.reads].shape[1]
    state = {f"decode_head.{name}": tensor for name, tensor in state.items()}
    tensors, unused = rename(state, head.rules)
    _double_single_scores(head, tensors)
    segmentor = Segmentor(
        backbone=Features(channels),
        state=state,
        heads=[args],
        num_classes=num_scores(state, "decode_head"),
        auxiliary=0.0,
        auxiliary_channels=None,
        criterion=cross_entropy if _loss(args).get("avg_non_ignore", False) else mean_over_all_pixels,
    )
    return Conversion(head.build(segmentor), tensors, unused)


def _loss(head: Mapping[str, Any]) -> Mapping[str, Any]:
    """A head's loss, the first one where it has several."""
    loss = head.get("loss_decode", {})
    return loss if isinstance(loss, Mapping) else loss[0]


Config = Mapping[str, Any]


def read_config(args: Config, dilated: bool = True) -> tuple[Config, Sequence[Config], Config]:
    """A segmentor's arguments -> configurations of its backbone, its decode heads and its auxiliary head.

    args: the `model` of a configuration file, or that file's whole content; or, in short, the keys of the backbone
    and `head`, that of the decode head, side by side. What the short form leaves out is as in mmsegmentation's
    `_base_/models` files, which dilate the backbone or do not; what the long form leaves out is as in its classes.
    """
    args = args.get("model", args)
    if isinstance(args.get("backbone"), Mapping) or "decode_head" in args:
        heads = args.get("decode_head", {})
        auxiliary = args.get("auxiliary_head") or {}
        if not isinstance(auxiliary, Mapping):
            if len(auxiliary) > 1:
                raise ConversionError(f"{len(auxiliary)} auxiliary heads; one is known")
            auxiliary = auxiliary[0]
        return args.get("backbone", {}), [heads] if isinstance(heads, Mapping) else list(heads), auxiliary
    strides, dilations = ((1, 2, 1, 1), (1, 1, 2, 4)) if dilated else ((1, 2, 2, 2), (1, 1, 1, 1))
    backbone = {"strides": strides, "dilations": dilations, "contract_dilation": True, **args}
    head = {"align_corners": args.get("align_corners", False), **args.get("head", {})}
    return backbone, [head], {"loss_decode": {"loss_weight": 0.4}}


def build_backbone(tensors: Mapping[str, Tensor], config: Config) -> TimmBackbone:
    """ResNet, ResNetV1c, ResNetV1d or ResNeXt for tensors by this package's names (`backbone.body...`), not yet filled.

    A stage's dilation holds for all of its blocks, the first one too unless `contract_dilation` halves it;
    `multi_grid` gives the dilations of the last stage's blocks themselves, not factors. Basic blocks dilate their first
    convolution only.
    """
    shape = resnet_shape(tensors, "backbone.body.")
    backbone = TimmBackbone(shape.name, in_channels=shape.in_channels, width=shape.width)
    if config.get("style", "pytorch") == "caffe":
        use_caffe_layout(backbone.body)
        backbone.body.maxpool.ceil_mode = False
    strides, given = tuple(config.get("strides", (1, 2, 2, 2))), tuple(config.get("dilations", (1, 1, 1, 1)))
    if len(strides) != 4 or len(given) != 4:
        raise ConversionError(f"strides = {strides} and dilations = {given}: each of the four stages has one of both")
    dilations = []
    for blocks, dilation in zip(shape.blocks, given, strict=True):
        first = dilation // 2 if dilation > 1 and config.get("contract_dilation", False) else dilation
        dilations.append([first, *[dilation] * (blocks - 1)])
    if config.get("multi_grid") is not None:
        dilations[-1] = list(config["multi_grid"])[: shape.blocks[-1]]
    lay_out(backbone, strides, dilations)
    return backbone


SOURCES = (
    *(Source(NAMES, head.network, partial(_recognise, head), partial(_convert, head)) for head in HEADS.values()),
    *(
        Source(NAMES, head.network, partial(_recognise_alone, head), partial(_convert_alone, head))
        for head in HEADS.values()
    ),
)
