"""shelhamer/fcn.berkeleyvision.org: the authors' FCNs in Caffe, on CaffeNet (AlexNet) and on VGG-16."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from segue.convert.reference import Conversion, Rule, Source, rename
from segue.convert.wkentaro import convert_fcn, is_vgg16_fcn
from segue.models.fcn import AlexNetTrunk, FCN8s, FCN8sAtOnce, FCN32s

ALEXNET: list[Rule] = [
    (r"(conv\d)\.", r"backbone.body.\1."),
    (r"(fc[67])\.", r"backbone.classifier.\1."),
    (r"upscore\.", "upscore32."),
]


def _is_alexnet(state: Mapping[str, Tensor]) -> bool:
    return {"conv1.weight", "conv5.weight", "fc6.weight", "score_fr.weight", "upscore.weight"} <= state.keys()


def _convert_alexnet(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    tensors, unused = rename(state, ALEXNET)
    trunk = AlexNetTrunk(
        in_channels=state["conv1.weight"].shape[1],
        channels=[state[f"conv{index}.weight"].shape[0] for index in range(1, 6)],
        fc_channels=state["fc6.weight"].shape[0],
    )
    return Conversion(FCN32s(trunk, state["score_fr.weight"].shape[0]), tensors, unused)


def _is_vgg16(state: Mapping[str, Tensor]) -> bool:
    return is_vgg16_fcn(_same_names(state))


def _same_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The nets for NYUDv2 with depth call their first layer after its four channels; at once, maps have a scale."""
    return rename(state, [(r"conv1_1_bgrd\.", "conv1_1."), (r"scale_pool[34]\.", None)])[0]


def _convert_vgg16(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    if "scale_pool4.weight" in state:
        return _convert_at_once(state, args)
    return convert_fcn(_same_names(state), FCN8s)


def _convert_at_once(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    tensors = _same_names(state)
    for name, constant in zip(("pool4", "pool3"), FCN8sAtOnce.scales, strict=True):
        scale = state.get(f"scale_{name}.weight")
        if scale is not None:  # normally the constant itself; what it differs by goes into the score layer
            weight = tensors[f"score_{name}.weight"]
            tensors[f"score_{name}.weight"] = weight * (scale.reshape(1, -1, 1, 1) / constant)
    return convert_fcn(tensors, FCN8sAtOnce)


SOURCES = (
    Source(("shelhamer/fcn.berkeleyvision.org",), "fcn32s", _is_alexnet, _convert_alexnet),
    Source(("shelhamer/fcn.berkeleyvision.org",), "fcn", _is_vgg16, _convert_vgg16),
    Source(("shelhamer/fcn.berkeleyvision.org voc-fcn8s-atonce",), "fcn8s_atonce", _is_vgg16, _convert_at_once),
)
