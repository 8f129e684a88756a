"""shelhamer/fcn.berkeleyvision.org: the authors' FCNs in Caffe, on CaffeNet (AlexNet) and on VGG-16."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from segue.convert.reference import Conversion, Rule, Source, rename
from segue.convert.wkentaro import convert_fcn, is_fcn8s, is_fcn16s, is_fcn32s
from segue.models.fcn import FCN, AlexNetTrunk, FCN8s, FCN8sAtOnce, FCN16s, FCN32s, VGG16Trunk

ALEXNET: list[Rule] = [
    (r"(conv\d)\.", r"backbone.body.\1."),
    (r"(fc[67])\.", r"backbone.classifier.\1."),
    (r"upscore\.", "upscore32."),
]


def _is_alexnet(state: Mapping[str, Tensor]) -> bool:
    return {"conv1.weight", "conv5.weight", "fc6.weight", "score_fr.weight"} <= state.keys()


def _convert_alexnet(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    tensors, unused = rename(state, ALEXNET)
    trunk = AlexNetTrunk(
        in_channels=state["conv1.weight"].shape[1],
        channels=[state[f"conv{index}.weight"].shape[0] for index in range(1, 6)],
        fc_channels=state["fc6.weight"].shape[0],
    )
    return Conversion(FCN32s(trunk, state["score_fr.weight"].shape[0]), tensors, unused)


def _same_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The net with depth calls its first layer after its four channels; at once, the skips have scale layers."""
    return rename(state, [(r"conv1_1_bgrd\.", "conv1_1."), (r"scale_pool[34]\.", None)])[0]


def _recognise(kind: Callable[[Mapping[str, Tensor]], bool], state: Mapping[str, Tensor]) -> bool:
    return "scale_pool4.weight" not in state and kind(_same_names(state))


def _convert(
    network: Callable[[VGG16Trunk, int], FCN], state: Mapping[str, Tensor], args: Mapping[str, Any]
) -> Conversion:
    return convert_fcn(network, _same_names(state))


def _is_at_once(state: Mapping[str, Tensor]) -> bool:
    """The scale layers tell at once from plain; where they were left out, the folder's name has to."""
    return is_fcn8s(_same_names(state))


def _convert_at_once(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    tensors = _same_names(state)
    for name, constant in zip(("pool4", "pool3"), FCN8sAtOnce.scales, strict=True):
        scale = state.get(f"scale_{name}.weight")
        if scale is not None:  # normally the constant itself; what it differs by goes into the score layer
            weight = tensors[f"score_{name}.weight"]
            tensors[f"score_{name}.weight"] = weight * (scale.reshape(1, -1, 1, 1) / constant)
    return convert_fcn(FCN8sAtOnce, tensors)


NAME = "shelhamer/fcn.berkeleyvision.org"
SOURCES = (
    Source((NAME,), "fcn32s", _is_alexnet, _convert_alexnet),
    Source((NAME,), "fcn32s", partial(_recognise, is_fcn32s), partial(_convert, FCN32s)),
    Source((NAME,), "fcn16s", partial(_recognise, is_fcn16s), partial(_convert, FCN16s)),
    Source((NAME,), "fcn8s", partial(_recognise, is_fcn8s), partial(_convert, FCN8s)),
    Source((NAME, f"{NAME} voc-fcn8s-atonce"), "fcn8s_atonce", _is_at_once, _convert_at_once),
)
