"""timm's encoders as backbones, and the dilation of its ResNets.

timm knows the weights and the blocks of several hundred encoders. What it lacks for segmentation is done here, on the
built modules, because papers differ in it: where a stage's stride goes, what the first block of a dilated stage does,
multi-grid.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
from timm.models.resnet import BasicBlock, Bottleneck
from torch import Tensor, nn

from segue.backbones.backbone import Backbone, BackboneOptions, create_timm, load_weights

STAGES = ("layer1", "layer2", "layer3", "layer4")


class TimmBackbone(Backbone):
    """Any timm encoder that gives feature maps.

    name: timm's; also `resnet18c`, `resnet34c`, `resnet18s`, `resnet34s`, with the stem of `resnet50c` or `resnet50s`.
    output_stride: 8, 16 or 32: the stride of the coarsest map. Stages beyond it keep their size and are dilated
        instead. The first block of a dilated stage has half its stage's dilation, so that weights trained at stride
        32 see what they were trained on (torchvision, PyTorch-Encoding, mmsegmentation's `contract_dilation`);
        `contract_dilation=False` dilates it fully.
    multi_grid: factors on the dilation of the last stage's blocks in turn (DeepLabv3, Sec. 3.2.1); with it, the first
        block is not halved. DANet's absolute 4, 8, 16 at stride 8 is (1, 2, 4) here.
    width: multiplies the channels of a ResNet, which then starts from random weights.
    pretrained: fetch timm's default weights. `weights`: a local file instead.
    caffe: the layout of MSRA's ResNets: a stage's stride in its first 1x1 convolution, a stem pooling that rounds up.

    Raises ValueError for a name that timm does not know, or a wish that the encoder cannot grant.
    """

    def __init__(
        self,
        name: str,
        *,
        in_channels: int = 3,
        output_stride: int = 32,
        multi_grid: Sequence[int] = (),
        contract_dilation: bool = True,
        width: float = 1.0,
        pretrained: bool = False,
        weights: str | Path | None = None,
        caffe: bool = False,
    ) -> None:
        super().__init__()
        options: dict[str, Any] = {}
        timm_name = name
        if re.fullmatch(r"resnet(18|34)[cs]", name):
            # timm names these stems for the deeper ones only; mmsegmentation and PyTorch-Encoding have all with them.
            timm_name, options = name[:-1], {"stem_type": "deep", "stem_width": 32 if name.endswith("c") else 64}
            if pretrained:
                raise ValueError(f"{name}: timm has no weights for it; give a file of weights, or take {timm_name}")
        if not timm.is_model(timm_name):
            near = difflib.get_close_matches(name, timm.list_models(), n=3)
            raise ValueError(f"timm has no encoder {name!r}; near: {', '.join(near) or 'none'}")
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride = {output_stride}: it must be 8, 16 or 32")
        if width != 1.0:
            if pretrained or weights is not None:
                raise ValueError(f"width = {width}: pretrained weights exist for width 1 only")
            options["channels"] = tuple(max(8, round(base * width)) for base in (64, 128, 256, 512))
        try:
            body: Any = create_timm(
                timm_name, features_only=True, in_chans=in_channels, pretrained=pretrained, **options
            )
        except (RuntimeError, AttributeError, TypeError, AssertionError) as error:
            raise ValueError(
                f"{name}: timm cannot take feature maps from it with {options or 'these options'} ({error})"
            ) from error
        self.resnet = all(hasattr(body, stage) for stage in STAGES) and isinstance(
            body.layer1[0], BasicBlock | Bottleneck
        )
        reductions = [info["reduction"] for info in body.feature_info.get_dicts()]
        if self.resnet:
            dilate_resnet(body, output_stride, multi_grid, contract_dilation)
            reductions = [min(reduction, output_stride) for reduction in reductions]
            if caffe:
                use_caffe_layout(body)
        else:
            if multi_grid or caffe:
                raise ValueError(f"{name} is not a ResNet: multi-grid and the Caffe layout are for ResNets")
            if output_stride != 32:
                try:
                    body = create_timm(
                        name,
                        features_only=True,
                        in_chans=in_channels,
                        pretrained=pretrained,
                        output_stride=output_stride,
                    )
                except (TypeError, AssertionError) as error:
                    raise ValueError(f"{name} cannot be dilated to output stride {output_stride}; use 32") from error
                reductions = [info["reduction"] for info in body.feature_info.get_dicts()]
        if weights is not None:
            load_weights(body, weights, in_channels)
        self.body = body
        self.name = name
        self.in_channels = in_channels
        self.channels = tuple(body.feature_info.channels())
        self.strides = tuple(reductions)
        self.channels_last = getattr(body, "output_fmt", "NCHW") == "NHWC"  # Swin's maps, for one

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = list(self.body(images))
        return [one.permute(0, 3, 1, 2) for one in maps] if self.channels_last else maps


@dataclass(frozen=True)
class TimmOptions(BackboneOptions):
    """A `TimmBackbone` as data: `backbone` is its name, and what the others mean is said there."""

    backbone: str
    output_stride: int = 32
    multi_grid: Sequence[int] = ()
    contract_dilation: bool = True
    caffe: bool = False

    def build(self, in_channels: int) -> TimmBackbone:
        return TimmBackbone(
            self.backbone,
            in_channels=in_channels,
            output_stride=self.output_stride,
            multi_grid=self.multi_grid,
            contract_dilation=self.contract_dilation,
            width=self.width,
            pretrained=self.pretrained,
            weights=self.weights,
            caffe=self.caffe,
        )


def _set(convolution: nn.Conv2d, *, stride: int | None = None, dilation: int | None = None) -> None:
    if stride is not None:
        convolution.stride = (stride, stride)
    if dilation is not None:
        convolution.dilation = (dilation, dilation)
        padding = dilation * (convolution.kernel_size[0] // 2)
        convolution.padding = (padding, padding)


def dilate_resnet(
    body: nn.Module, output_stride: int, multi_grid: Sequence[int] = (), contract_dilation: bool = True
) -> None:
    """Turn strides beyond `output_stride` into dilation, in place; the table of strides is that of DeepLab and DRN."""
    stride, dilation = 4, 1  # after the stem's pooling
    for stage in STAGES:
        blocks = getattr(body, stage)
        first = dilation
        if stage != "layer1":
            if stride < output_stride:
                stride *= 2
            else:
                dilation *= 2
                first = dilation // 2 if contract_dilation else dilation
                _remove_stride(blocks[0])
        dilations = [first, *[dilation] * (len(blocks) - 1)]
        if stage == "layer4" and multi_grid:
            dilations = [dilation * multi_grid[index % len(multi_grid)] for index in range(len(blocks))]
        for block, value in zip(blocks, dilations, strict=True):
            if isinstance(block, Bottleneck):
                _set(block.conv2, dilation=value)
            else:
                _set(block.conv1, dilation=value)
                # A basic block's second convolution has its stage's dilation also where the first one is halved.
                _set(block.conv2, dilation=value if multi_grid and stage == "layer4" else max(value, dilation))


def _remove_stride(block: nn.Module) -> None:
    """Stride 1 in a stage's first block: in its convolutions and in its shortcut."""
    for name in ("conv1", "conv2", "conv3"):
        convolution = getattr(block, name, None)
        if convolution is not None:
            _set(convolution, stride=1)
    shortcut = getattr(block, "downsample", None)
    if shortcut is not None:
        for index, layer in enumerate(shortcut):
            if isinstance(layer, nn.Conv2d):
                _set(layer, stride=1)
            elif isinstance(layer, nn.AvgPool2d):
                shortcut[index] = nn.Identity()  # an average over one pixel (specs of ResNet-D at stride 1)


def lay_out(backbone: TimmBackbone, strides: Sequence[int], dilations: Sequence[Sequence[int]]) -> None:
    """Give a ResNet of output stride 32 other strides and dilations, block by block, in place.

    For conventions other than those of `TimmBackbone`'s options. strides: of the four stages, 1 or 2, where 1 removes
    a stage's stride. dilations: of each stage's blocks, in a bottleneck's 3x3 or in a basic block's first convolution;
    a basic block's second one stays as it is. Raises ValueError where these do not fit the encoder.
    """
    stride, reductions = 4, []
    for stage, wanted, values in zip(STAGES, strides, dilations, strict=True):
        blocks = backbone.body.get_submodule(stage)
        if wanted not in (1, 2) or (stage == "layer1" and wanted != 1) or len(values) != len(blocks):
            raise ValueError(
                f"{backbone.name}, {stage}: stride {wanted} and dilations {list(values)} for {len(blocks)} blocks; "
                "strides are 1 or 2, 1 in layer1, and each block has one dilation"
            )
        if stage != "layer1" and wanted == 1:
            _remove_stride(blocks[0])
        stride *= wanted
        reductions.append(stride)
        for block, value in zip(blocks, values, strict=True):
            _set(block.conv2 if isinstance(block, Bottleneck) else block.conv1, dilation=value)
    backbone.strides = (*backbone.strides[:-4], *reductions)


def keep_first_maps(backbone: TimmBackbone, maps: int) -> None:
    """Drop the stages of a ResNet behind its first `maps` feature maps, 2 to 5 of them, in place."""
    for stage in STAGES[maps - 1 :]:
        del backbone.body[stage]
    backbone.channels, backbone.strides = backbone.channels[:maps], backbone.strides[:maps]


def use_caffe_layout(body: Any) -> None:
    """Each stage's stride goes from its first block's 3x3 to its first 1x1; the stem's pooling rounds up. In place."""
    for stage in STAGES:
        block = getattr(body, stage)[0]
        if isinstance(block, Bottleneck) and block.conv2.stride != (1, 1):
            _set(block.conv1, stride=block.conv2.stride[0])
            _set(block.conv2, stride=1)
    body.maxpool.ceil_mode = True
