"""jvanvugt/pytorch-unet: the U-Net of the paper's figure, valid or padded, of any depth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from segue.convert.reference import Conversion, Rule, Source, rename, two_scores
from segue.models.unet import PaperUNet

RULES: list[Rule] = [
    (r"down_path\.(\d+)\.block\.", r"down.\1."),
    (r"up_path\.(\d+)\.conv_block\.block\.", r"up.\1."),
    (r"up_path\.(\d+)\.up\.1\.", r"upsample.\1.1."),  # up_mode="upsample": bilinear, then a 1x1 convolution
    (r"up_path\.(\d+)\.up\.", r"upsample.\1.0."),
    (r"last\.", "classify."),
]


def _convert(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    tensors, unused = rename(state, RULES)
    levels = len({name.split(".")[1] for name in state if name.startswith("down_path.")})
    network = PaperUNet(
        two_scores(tensors, "classify"),
        in_channels=state["down_path.0.block.0.weight"].shape[1],
        channels=[state[f"down_path.{level}.block.0.weight"].shape[0] for level in range(levels)],
        padding=int(args.get("padding", False)),
        dropout=0.0,  # the reference has none
        bilinear=args.get("up_mode", "upconv") == "upsample" or "up_path.0.up.1.weight" in state,
        norm="down_path.0.block.2.running_mean" in state,
    )
    return Conversion(network, tensors, unused)


SOURCES = (
    Source(
        ("jvanvugt/pytorch-unet",),
        "unet",
        lambda state: {"down_path.0.block.0.weight", "last.weight"} <= state.keys(),
        _convert,
    ),
)
