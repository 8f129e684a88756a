"""wkentaro/pytorch-fcn: FCN-32s, 16s, 8s and 8s at once on VGG-16. Its layers have the names of the authors'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from segue.convert.reference import Conversion, Rule, Source, rename
from segue.models.fcn import FCN, FCN8s, FCN8sAtOnce, FCN16s, FCN32s, VGG16Trunk

RULES: list[Rule] = [
    (r"conv(\d)_(\d)\.", r"backbone.body.stages.\1.conv\1_\2."),
    (r"(fc[67])\.", r"backbone.classifier.\1."),
    (r"upscore\.", "upscore32."),
]


def is_vgg16_fcn(state: Mapping[str, Tensor]) -> bool:
    """Whether these are an FCN on VGG-16 by Caffe's names."""
    return {"conv1_1.weight", "score_fr.weight", "fc6.weight"} <= state.keys()


def convert_fcn(state: Mapping[str, Tensor], eight: type[FCN8s] = FCN8s) -> Conversion:
    """Which of the FCNs it is shows in the tensors; `eight`: the class where they say FCN-8s."""
    tensors, unused = rename(state, RULES)
    kind: type[FCN] = FCN32s
    if "score_pool3.weight" in state:
        kind = eight
    elif "score_pool4.weight" in state:
        kind = FCN16s
    trunk = VGG16Trunk(
        in_channels=state["conv1_1.weight"].shape[1],
        channels=[state[f"conv{stage}_1.weight"].shape[0] for stage in range(1, 6)],
        fc_channels=state["fc6.weight"].shape[0],
    )
    return Conversion(kind(trunk, state["score_fr.weight"].shape[0]), tensors, unused)


def _convert(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    return convert_fcn(state)


def _convert_at_once(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    return convert_fcn(state, FCN8sAtOnce)


# FCN-8s and FCN-8s at once have the same tensors: only the name tells them apart, and without one it is the former.
SOURCES = (
    Source(("wkentaro/pytorch-fcn",), "fcn", is_vgg16_fcn, _convert),
    Source(("wkentaro/pytorch-fcn torchfcn.models.FCN8sAtOnce",), "fcn8s_atonce", is_vgg16_fcn, _convert_at_once),
)
