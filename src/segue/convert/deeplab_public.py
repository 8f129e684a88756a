"""corenel/deeplab-public, a mirror of the DeepLab authors' first Caffe release: LargeFOV on VGG-16."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from segue.convert.reference import Conversion, Rule, Source, rename
from segue.models.deeplabv1 import DeepLabV1, LargeFOV

RULES: list[Rule] = [
    (r"conv(\d)_(\d)\.", r"backbone.body.stages.\1.conv\1_\2."),
    (r"(fc[67])\.", r"backbone.\1."),
    (r"fc8_\w+\.", "fc8."),  # named after the data set: fc8_voc12
]


def has_fc8(state: Mapping[str, Tensor]) -> bool:
    """Whether there is a score layer of DeepLab's, fc8_ and the data set's name."""
    return any(name.startswith("fc8_") for name in state)


def _convert(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    tensors, unused = rename(state, RULES)
    trunk = LargeFOV(
        in_channels=state["conv1_1.weight"].shape[1],
        channels=[state[f"conv{stage}_1.weight"].shape[0] for stage in range(1, 6)],
        fc_channels=state["fc6.weight"].shape[0],
    )
    return Conversion(DeepLabV1(trunk, tensors["fc8.weight"].shape[0]), tensors, unused)


SOURCES = (
    Source(
        ("corenel/deeplab-public",),
        "deeplabv1",
        lambda state: {"conv1_1.weight", "fc6.weight"} <= state.keys() and has_fc8(state),
        _convert,
    ),
)
