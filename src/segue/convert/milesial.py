"""milesial/Pytorch-UNet: the padded U-Net with BatchNorm, with up-convolutions or bilinear.

Its first release (2018) has other names and convolutions with a bias, and narrows at once behind a bilinear enlargement
where the code of today narrows in two steps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from segue.convert.reference import Conversion, Rule, Source, rename, two_scores
from segue.layers import ConvBNReLU
from segue.models.unet import PaddedUNet

FIRST_RELEASE: list[Rule] = [
    (r"inc\.conv\.conv\.", "inc.double_conv."),
    (r"down(\d)\.mpconv\.1\.conv\.", r"down\1.maxpool_conv.1.double_conv."),
    (r"up(\d)\.conv\.conv\.", r"up\1.conv.double_conv."),
]


def _rename(name: str) -> str:
    """A double convolution's 0, 1, 3, 4 are our 0.0, 0.1, 1.0, 1.1."""
    match = re.fullmatch(r"(inc|down|up)(\d*)\.(?:maxpool_conv\.1\.|conv\.)?double_conv\.(\d)\.(\w+)", name)
    if match is not None:
        part, number, index, leaf = match.groups()
        stage = {"inc": "down.0", "down": f"down.{number}", "up": f"up.{int(number or 0) - 1}"}[part]
        return f"{stage}.{int(index) // 3}.{int(index) % 3}.{leaf}"
    name = re.sub(r"^up(\d)\.up\.", lambda m: f"upsample.{int(m[1]) - 1}.", name)
    return name.replace("outc.conv.", "classify.")


def _without_biases(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convolutions before a BatchNorm had a bias at first: it only moves the mean that is subtracted next."""
    rest = dict(state)
    for name in state:
        match = re.fullmatch(r"(.*double_conv\.)(\d)\.bias", name)
        if match is not None and f"{match[1]}{match[2]}.running_mean" not in state:
            mean = f"{match[1]}{int(match[2]) + 1}.running_mean"
            rest[mean] = rest[mean] - rest.pop(name)
    return rest


def _convert(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Conversion:
    state = rename(state, FIRST_RELEASE)[0]
    levels = 1 + sum(bool(re.fullmatch(r"down\d+\.maxpool_conv\.1\.double_conv\.0\.weight", name)) for name in state)
    widths = [state["inc.double_conv.0.weight"].shape[0]]
    widths += [state[f"down{index}.maxpool_conv.1.double_conv.0.weight"].shape[0] for index in range(1, levels)]
    bilinear = "up1.up.weight" not in state
    if bilinear:
        widths[-1] *= 2  # the coarsest level has half of its channels then
    # Checkpoints of the newer code carry the mask's values beside the tensors; the network does not compute with them.
    unused = [name for name in state if name == "mask_values"]
    tensors = {_rename(name): tensor for name, tensor in _without_biases(state).items() if name not in unused}
    network = PaddedUNet(
        two_scores(tensors, "classify"),
        in_channels=state["inc.double_conv.0.weight"].shape[1],
        channels=widths,
        bilinear=bilinear,
    )
    for index in range(levels - 1):
        width, before = tensors[f"up.{index}.0.0.weight"].shape[:2]
        if bilinear and width == tensors[f"up.{index}.1.0.weight"].shape[0]:  # narrowed at once
            network.up[index] = nn.Sequential(ConvBNReLU(before, width), ConvBNReLU(width, width))
    return Conversion(network, tensors, unused)


def _recognise(state: Mapping[str, Tensor]) -> bool:
    double = {"inc.double_conv.0.weight", "inc.conv.conv.0.weight"} & state.keys()
    # Older than its first release, it had no BatchNorm: two convolutions, 0 and 2, and is none of this package's.
    return bool(double) and "outc.conv.weight" in state and "inc.conv.conv.2.weight" not in state


SOURCES = (Source(("milesial/Pytorch-UNet",), "unet", _recognise, _convert),)
