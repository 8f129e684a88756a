"""delta-onera/segnet_pytorch: SegNet on VGG-16. It rounds sizes down, and so runs at multiples of 32 only, where the
authors' definition computes the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from segue.convert.reference import Conversion, Rule, Source, rename
from segue.convert.segnet_tutorial import convert_segnet

RULES: list[Rule] = [  # conv11, bn11, ..., conv53d, bn53d -> the authors' names
    (r"conv(\d)(\d)d\.", r"conv\1_\2_D."),
    (r"bn(\d)(\d)d\.", r"conv\1_\2_D_bn."),
    (r"conv(\d)(\d)\.", r"conv\1_\2."),
    (r"bn(\d)(\d)\.", r"conv\1_\2_bn."),
]


def _convert(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    return convert_segnet(rename(state, RULES)[0], args)


SOURCES = (
    Source(
        ("delta-onera/segnet_pytorch",),
        "segnet",
        lambda state: {"conv11.weight", "bn11.weight", "conv53d.weight"} <= state.keys(),
        _convert,
    ),
)
