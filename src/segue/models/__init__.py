"""The networks: one file per paper, one contract (`network.py`), and the dict that names them."""

from __future__ import annotations

import difflib
from typing import Any

from segue.models.danet import DANet
from segue.models.deeplabv1 import DeepLabV1
from segue.models.deeplabv2 import DeepLabV2
from segue.models.deeplabv3 import DeepLabV3
from segue.models.dfn import DFN, NarrowDFN
from segue.models.fcn import FCN8s, FCN8sAtOnce, FCN16s, FCN32s
from segue.models.fcn_resnet import FCNResNet
from segue.models.kinds import described, is_kind, numbers_in
from segue.models.mcibi import MCIBI
from segue.models.msc import MultiScale
from segue.models.network import Criterion, Network, Paper, Progress
from segue.models.ocrnet import OCRNet
from segue.models.pspnet import PSPNet
from segue.models.refinenet import RefineNet
from segue.models.segnet import SegNet, SegNetBasic
from segue.models.unet import UNet
from segue.models.upernet import UPerNet

MODELS: dict[str, type[Network[Any]]] = {
    "danet": DANet,
    "deeplabv1": DeepLabV1,
    "deeplabv2": DeepLabV2,
    "deeplabv2_msc": MultiScale,
    "deeplabv3": DeepLabV3,
    "dfn": DFN,
    "dfn_narrow": NarrowDFN,
    "fcn": FCNResNet,
    "fcn16s": FCN16s,
    "fcn32s": FCN32s,
    "fcn8s": FCN8s,
    "fcn8s_atonce": FCN8sAtOnce,
    "mcibi": MCIBI,
    "ocrnet": OCRNet,
    "pspnet": PSPNet,
    "refinenet": RefineNet,
    "segnet": SegNet,
    "segnet_basic": SegNetBasic,
    "unet": UNet,  # type: ignore[type-abstract]  # its `build` picks one of three
    "upernet": UPerNet,
}

SIZES = ("width", "channels", "rate", "rates", "bins", "scales")
"""How options end whose numbers must be above 0."""

__all__ = ["MODELS", "Criterion", "Network", "Paper", "Progress", "create"]


def create(name: str, num_classes: int, **options: Any) -> Network[Any]:
    """Build a network by its name: `create("deeplabv3", num_classes=11, backbone="resnet50")`.

    Options are the fields of the class's `backbone_options` and its keywords, `MODELS[name].options()` in all; every
    network takes `in_channels` and `criterion`. Nothing is fetched unless `pretrained=True`. Raises ValueError for an
    unknown name or option, with the nearest one, and for a value of another kind than the option's.
    """
    if name not in MODELS:
        raise ValueError(unknown("network", name, MODELS))
    if num_classes < 2:
        raise ValueError(f"num_classes = {num_classes}: at least 2 (binary is background and foreground)")
    known = MODELS[name].kinds()
    for key, value in options.items():
        if key not in known:
            raise ValueError(unknown(f"option of {name}", key, known))
        if not is_kind(value, known[key]):
            raise ValueError(f"{key} = {value!r}: it must be {described(known[key])}")
        if key.endswith(SIZES) and min(numbers_in(value), default=1) <= 0:
            raise ValueError(f"{key} = {value!r}: it must be above 0")
    return MODELS[name].build(num_classes, **options)


def unknown(what: str, name: str, known: Any, listed: str = "") -> str:
    """One line for a name that is not known: the nearest known one, or all of them, or where they are `listed`."""
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f"did you mean {near[0]!r}?" if near else listed or f"known: {', '.join(known)}"
    return f"there is no {what} {name!r}; {hint}"
