"""Checkpoints of SegmentationBLWX/sssegmentation, the code of MCIBI's authors: MCIBI and MCIBI++."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from segue.backbones import TimmBackbone
from segue.backbones.timm import lay_out
from segue.convert.reference import Conversion, ConversionError, Rule, Source, rename
from segue.convert.resnet import resnet_shape
from segue.layers import ConvBNReLU
from segue.models.mcibi import (
    MCIBI,
    ASPPContext,
    BeyondImage,
    ClassMemory,
    Context,
    OCRContext,
    PPMContext,
    UPerContext,
)
from segue.models.mcibi_plus import MCIBIPlusPlus

NAMES = ("SegmentationBLWX/sssegmentation", "CharlesPikachu/mcibi")

Tensors = Mapping[str, Tensor]


def attention_rules(old: str, new: str) -> list[Rule]:
    """Rules for a SelfAttentionBlock, `old`, that is a ContextAttention, `new`, here."""
    return [(rf"{old}\.(query|key|value|out)_project\.", rf"{new}.\1.")]


def decoder_rules(old: str, new: str) -> list[Rule]:
    """Rules for a decoder: convolution, BN, ReLU, dropout, classifier."""
    return [(rf"{old}\.([01])\.", rf"{new}.0.\1."), (rf"{old}\.4\.", rf"{new}.2.")]


def named_decoder_rules(old: str, new: str) -> list[Rule]:
    """Rules for a decoder of MCIBI++, whose layers have names."""
    return [
        (rf"{old}\.conv1\.", rf"{new}.0.0."),
        (rf"{old}\.bn1\.", rf"{new}.0.1."),
        (rf"{old}\.conv2\.", rf"{new}.2."),
    ]


def _under(old: str, new: str, rules: Sequence[Rule]) -> list[Rule]:
    """The same rules for tensors whose names, old and new, have something in front."""
    return [(rf"{old}{pattern}", f"{new}{replacement}") for pattern, replacement in rules]


BACKBONE_RULES: list[Rule] = [
    (r"backbone_net\.stem\.7\.", "backbone.body.bn1."),  # the deep stem's last BN; its convolutions are 0, 3 and 6
    (r"backbone_net\.stem\.", "backbone.body.conv1."),
    (r"backbone_net\.", "backbone.body."),
]
MEMORY_RULES: list[Rule] = [
    (r"memory$", "memory.rows"),
    *attention_rules("self_attention", "beyond.refine"),
    (r"bottleneck\.", "beyond.fuse."),
    *attention_rules("self_attention_ms", "refine_within"),
    (r"bottleneck_ms\.", "fuse_within."),
]
RULES: list[Rule] = [
    *BACKBONE_RULES,
    *_under(r"memory_module\.", "", MEMORY_RULES),
    *decoder_rules("decoder_stage1", "classify_first"),
    *decoder_rules("decoder_stage2", "classify"),
    *decoder_rules("auxiliary_decoder", "auxiliary"),
]
PLUS_RULES: list[Rule] = [
    *BACKBONE_RULES,
    (r"memory_module\.memory$", "memory.moments"),
    *_under(r"memory_module\.", "", MEMORY_RULES),
    *attention_rules("self_attention", "attend"),
    (r"lateral_convs\.", "lateral."),
    (r"fpn_convs\.", "smooth."),
    *named_decoder_rules("decoder_pr", "classify_first"),
    *named_decoder_rules("decoder_cwi", "classify_within"),
    *named_decoder_rules("decoder_cls", "classify"),
    *decoder_rules("auxiliary_decoder", "auxiliary"),
]
SHRUNK_RULES: list[Rule] = [
    (r"memory_module\.downsample_before_sa\.", "beyond.refine.shrink."),
    *_under(r"memory_module\.", "", attention_rules("self_attention", "beyond.refine.attention")),
]
PPM_RULES: list[Rule] = [
    (r"branches\.(\d)\.1\.", r"ppm.project.\1.0."),
    (r"branches\.(\d)\.2\.", r"ppm.project.\1.1."),
    (r"bottleneck\.", "ppm.fuse."),
]
ASPP_RULES: list[Rule] = [
    (r"parallel_branches\.", "aspp.branches."),
    (r"global_branch\.1\.", "aspp.image_pooling.project.0."),
    (r"global_branch\.2\.", "aspp.image_pooling.project.1."),
    (r"bottleneck\.", "aspp.project."),
]
OCR_RULES: list[Rule] = [
    *attention_rules("block", "object_context.attention"),
    (r"block\.bottleneck\.", "object_context.fuse."),
    (r"bottleneck\.", "bottleneck."),
]
UPERNET_RULES: list[Rule] = [
    *_under(r"ppm\.", "pyramid.", PPM_RULES),
    (r"lateral\.", "pyramid.lateral."),
    (r"fpn\.", "pyramid.smooth."),
    (r"fuse\.", "pyramid.fuse."),
]


STRIDES_AND_RATES = {
    8: ((1, 2, 1, 1), (1, 1, 2, 4)),
    16: ((1, 2, 2, 1), (1, 1, 1, 2)),
    32: ((1, 2, 2, 2), (1, 1, 1, 1)),
}
"""Output stride -> strides and dilations of the four stages."""


def build_backbone(state: Tensors, output_stride: int = 8, contract_dilation: bool = True) -> TimmBackbone:
    """Its ResNet, with 7x7 or deep stem, for tensors by this package's names (`backbone.body...`); not yet filled.

    The first block of a dilated stage has half the dilation, unless `contract_dilation` is off; a basic block is
    dilated in its first convolution only.
    """
    shape = resnet_shape(state, "backbone.body.")
    backbone = TimmBackbone(shape.name, in_channels=shape.in_channels, width=shape.width)
    if output_stride not in STRIDES_AND_RATES:
        raise ConversionError(f"outstride = {output_stride!r}: it has to be 8, 16 or 32")
    strides, rates = STRIDES_AND_RATES[output_stride]
    firsts = [max(1, rate // 2) if contract_dilation else rate for rate in rates]
    dilations = [
        [first, *[rate] * (blocks - 1)] for blocks, first, rate in zip(shape.blocks, firsts, rates, strict=True)
    ]
    lay_out(backbone, strides, dilations)
    return backbone


def build_context(
    state: Tensors, in_channels: Sequence[int], channels: int, options: Mapping[str, Any], align_corners: bool = False
) -> tuple[Context | None, list[Rule]]:
    """The context within the image, known by its tensors' names, and the rules for them.

    options: the arguments of the context module: `pool_scales` or `dilations`, where 1 makes a branch of 1x1.
    """
    names = [name.removeprefix("context_within_image_module.") for name in state if name.startswith("context_within")]
    kinds = {name.split(".")[0] for name in names}
    context: Context | None = None
    rules: list[Rule] = []
    if "parallel_branches" in kinds:
        dilations = tuple(options.get("dilations", (1, 12, 24, 36)))
        if not dilations:
            raise ConversionError("dilations of ASPP: there has to be at least one")
        context, rules = ASPPContext(in_channels, channels, dilations[1:]), ASPP_RULES
        for index, dilation in enumerate(dilations):  # ours has a 1x1 at the first place and nowhere else
            kernel = 1 if dilation == 1 else 3
            context.aspp.branches[index] = ConvBNReLU(in_channels[-1], channels, kernel, dilation=dilation)
    elif "branches" in kinds:
        bins = options.get("pool_scales", (1, 2, 3, 6))
        context, rules = PPMContext(in_channels, channels, bins, align_corners=align_corners), PPM_RULES
    elif "block" in kinds:
        transform = state["context_within_image_module.block.query_project.0.0.weight"].shape[0]
        context, rules = OCRContext(in_channels, channels, transform), OCR_RULES
    elif "lateral" in kinds:
        context, rules = UPerContext(in_channels, channels), UPERNET_RULES
    return context, _under(r"context_within_image_module\.", "within.", rules)


def convert_memory(state: Tensors, args: Mapping[str, Any]) -> tuple[ClassMemory, BeyondImage]:
    """A FeaturesMemory alone -> the memory and the module that reads it, both filled.

    args: `use_hard_aggregate`, and `strategy` of the update, "cosine_similarity" or "mean".
    """
    renamed, _ = rename(state, MEMORY_RULES)
    rows = _rows(renamed.pop("memory.rows"))
    memory = ClassMemory(*rows.shape, cosine=_cosine(args))
    memory.rows.copy_(rows)
    transform = renamed["beyond.refine.query.0.0.weight"].shape[0]
    beyond = BeyondImage(rows.shape[1], transform, hard=args.get("use_hard_aggregate", False))
    beyond.load_state_dict({name.removeprefix("beyond."): tensor for name, tensor in renamed.items()})
    return memory, beyond


def _cosine(settings: Mapping[str, Any]) -> bool:
    strategy = settings.get("strategy", "cosine_similarity")
    if strategy not in ("cosine_similarity", "mean"):
        raise ConversionError(f"strategy = {strategy!r}: it has to be cosine_similarity or mean")
    return bool(strategy == "cosine_similarity")


def _rows(memory: Tensor) -> Tensor:
    if memory.shape[1] != 1:
        raise ConversionError(f"the memory has {memory.shape[1]} rows per class (num_feats_per_cls); one is known")
    return memory[:, 0]


def _settings(args: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments side by side, also where they come as one of its configurations (backbone, head, ...)."""
    head, losses = {**args, **args.get("head", {})}, args.get("losses", {})
    update = head.get("update_cfg", {})
    weights = {"head.loss_cfg": head.get("loss_cfg"), **losses}
    nested: dict[str, Any] = {
        **args.get("backbone", {}),
        **head,
        **update,
        **update.get("momentum_cfg", {}),
        **{f"weight of {name}": _weight(loss) for name, loss in weights.items() if loss is not None},
    }
    if "context_within_image" in head:
        nested["context_args"] = head["context_within_image"].get("cfg", {})
    nested["backbone_act_cfg"] = args.get("backbone", {}).get("act_cfg", {})
    nested["act_cfg"] = args.get("act_cfg", {})
    return nested


def _weight(loss: Mapping[str, Any]) -> float:
    """A loss's weight; older configurations have the loss under its type's name."""
    weight: float = loss.get("CrossEntropyLoss", loss).get("scale_factor", 1.0)
    return weight


def _backbone(tensors: Tensors, settings: Mapping[str, Any]) -> TimmBackbone:
    backbone = build_backbone(tensors, settings.get("outstride", 8), settings.get("contract_dilation", True))
    _activate(backbone, settings["backbone_act_cfg"])
    return backbone


def _activate(module: nn.Module, activation: Mapping[str, Any]) -> None:
    """Put the activation of an `act_cfg` where ReLU is, in place: LeakyReLU is LIP's."""
    kind = activation.get("type", "ReLU")
    if kind not in ("ReLU", "LeakyReLU"):
        raise ConversionError(f"act_cfg of type {kind}: only ReLU and LeakyReLU are known")
    if kind == "LeakyReLU":
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.LeakyReLU(activation.get("negative_slope", 0.01), inplace=child.inplace))
            else:
                _activate(child, activation)


def _activate_head(network: nn.Module, settings: Mapping[str, Any]) -> None:
    """The same in all of a network but its backbone, whose activation is an argument of its own."""
    for name, child in network.named_children():
        if name != "backbone":
            _activate(child, settings["act_cfg"])


def _convert(state: Tensors, args: Mapping[str, Any]) -> Conversion:
    settings = _settings(args)
    tensors, unused = rename(state, RULES)
    backbone = _backbone(tensors, settings)
    tensors["memory.rows"] = _rows(tensors["memory.rows"])
    num_classes, channels = tensors["memory.rows"].shape
    corners = settings.get("align_corners", False)
    context, rules = build_context(state, backbone.channels, channels, settings.get("context_args", {}), corners)
    tensors, _ = rename(tensors, rules)
    auxiliary = state.get("auxiliary_decoder.0.weight")
    network = MCIBI(
        backbone,
        num_classes,
        context,
        context="none",  # no other one
        channels=channels,
        transform_channels=tensors["beyond.refine.query.0.0.weight"].shape[0],
        alpha=settings.get("weight of loss_cls_stage1", 0.4),
        auxiliary=0.0 if auxiliary is None else settings.get("weight of loss_aux", 0.4),
        auxiliary_channels=channels if auxiliary is None else auxiliary.shape[0],
        beta=settings.get("weight of head.loss_cfg", 1.0) if settings.get("use_loss", True) else 0.0,
        momentum=settings.get("base_momentum", 0.9),
        momentum_lr=settings.get("base_lr"),
        fixed_momentum=not settings.get("adjust_by_learning_rate", True),
        cosine=_cosine(settings),
        hard=settings.get("use_hard_aggregate", False),
        align_corners=corners,
    )
    _activate_head(network, settings)
    return Conversion(network, tensors, unused)


def _convert_plus(state: Tensors, args: Mapping[str, Any]) -> Conversion:
    settings = _settings(args)
    # Without a context, the pyramid is built all the same, but never called.
    alone = not any(name.startswith("context_within_image_module.") for name in state)
    uncalled: list[Rule] = [(r"(lateral|fpn)_convs\.", None)] if alone else []
    shrink = "memory_module.downsample_before_sa.0.weight" in state
    tensors, unused = rename(state, [*uncalled, *(SHRUNK_RULES if shrink else []), *PLUS_RULES])
    backbone = _backbone(tensors, settings)
    channels = tensors["bottleneck.0.weight"].shape[0]
    corners = settings.get("align_corners", False)
    context, rules = build_context(state, backbone.channels, channels, settings.get("context_args", {}), corners)
    tensors, _ = rename(tensors, rules)
    last, auxiliary = tensors["classify.0.0.weight"], state.get("auxiliary_decoder.0.weight")
    lateral, smooth = tensors.get("lateral.0.0.weight"), tensors.get("smooth.0.0.weight")
    network = MCIBIPlusPlus(
        backbone,
        len(tensors["memory.moments"]),
        context,
        channels=channels,
        transform_channels=state["memory_module.self_attention.query_project.0.0.weight"].shape[0],
        classify_within="classify_within.2.weight" in tensors,
        choose_by_first=settings.get("force_use_preds_pr", False),
        shrink=shrink,
        attend="attend.query.0.0.weight" in tensors,
        pyramid=None if lateral is None or smooth is None else (lateral.shape[0], smooth.shape[0]),
        late_memory=lateral is not None and not settings.get("fuse_memory_cwi_before_fpn", True),
        kernel=last.shape[-1],
        classifier_channels=last.shape[0],
        alpha=settings.get("weight of loss_pr", 0.4),
        auxiliary=0.0 if auxiliary is None else settings.get("weight of loss_aux", 0.4),
        auxiliary_channels=channels if auxiliary is None else auxiliary.shape[0],
        momentum=settings.get("base_momentum", settings.get("momentum", 0.1)),
        momentum_lr=settings.get("base_lr") if settings.get("adjust_by_learning_rate", False) else None,
        hard=settings.get("use_hard_aggregate", False),
        align_corners=corners,
    )
    _activate_head(network, settings)
    return Conversion(network, tensors, unused)


def _is_plus(state: Tensors) -> bool:
    return "decoder_pr.conv1.weight" in state


SOURCES = (
    Source(NAMES, "mcibi", _is_plus, _convert_plus),
    Source(
        NAMES,
        "mcibi",
        lambda state: "memory_module.memory" in state and not _is_plus(state),
        _convert,
    ),
)
