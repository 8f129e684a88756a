"""wkentaro/pytorch-fcn: FCN-32s, 16s, 8s and 8s at once on VGG-16. Its layers have the names of the authors'."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from segue.convert.reference import Conversion, Rule, Source, rename
from segue.models.fcn import FCN, FCN8s, FCN8sAtOnce, FCN16s, FCN32s, VGG16Trunk

RULES: list[Rule] = [
    (r"conv(\d)_(\d)\.", r"backbone.body.stages.\1.conv\1_\2."),
    (r"(fc[67])\.", r"backbone.classifier.\1."),
    (r"upscore\.", "upscore32."),
]
FULL = {"conv1_1.weight", "fc6.weight", "score_fr.weight"}


def is_fcn32s(state: Mapping[str, Tensor]) -> bool:
    """Whether these are an FCN-32s on VGG-16, by Caffe's names."""
    return state.keys() >= FULL and "score_pool4.weight" not in state


def is_fcn16s(state: Mapping[str, Tensor]) -> bool:
    """Whether these are an FCN-16s."""
    return FULL | {"score_pool4.weight"} <= state.keys() and "score_pool3.weight" not in state


def is_fcn8s(state: Mapping[str, Tensor]) -> bool:
    """Whether these are an FCN-8s, at once or not."""
    return FULL | {"score_pool4.weight", "score_pool3.weight"} <= state.keys()


def convert_fcn(network: Callable[[VGG16Trunk, int], FCN], state: Mapping[str, Tensor]) -> Conversion:
    """An FCN on VGG-16, by Caffe's names; `network` is its class."""
    tensors, unused = rename(state, RULES)
    trunk = VGG16Trunk(
        in_channels=state["conv1_1.weight"].shape[1],
        channels=[state[f"conv{stage}_1.weight"].shape[0] for stage in range(1, 6)],
        fc_channels=state["fc6.weight"].shape[0],
    )
    return Conversion(network(trunk, state["score_fr.weight"].shape[0]), tensors, unused)


def _convert(
    network: Callable[[VGG16Trunk, int], FCN], state: Mapping[str, Tensor], args: Mapping[str, Any]
) -> Conversion:
    return convert_fcn(network, state)


# FCN-8s and FCN-8s at once have the same tensors: only the name tells them apart, and without one it is the former.
NAME = "wkentaro/pytorch-fcn"
SOURCES = (
    Source((NAME,), "fcn32s", is_fcn32s, partial(_convert, FCN32s)),
    Source((NAME,), "fcn16s", is_fcn16s, partial(_convert, FCN16s)),
    Source((NAME,), "fcn8s", is_fcn8s, partial(_convert, FCN8s)),
    Source((f"{NAME} torchfcn.models.FCN8sAtOnce",), "fcn8s_atonce", is_fcn8s, partial(_convert, FCN8sAtOnce)),
)
