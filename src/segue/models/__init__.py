"""The networks: one file per paper, one contract (`network.py`), and the dict that names them."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

from segue.models.deeplabv3 import DeepLabV3
from segue.models.network import Criterion, Network, Paper, Progress
from segue.models.unet import UNet

MODELS: dict[str, type[Network[Any]]] = {
    "deeplabv3": DeepLabV3,
    "unet": UNet,  # type: ignore[type-abstract]  # its `build` picks one of three
}

__all__ = ["MODELS", "Criterion", "Network", "Paper", "Progress", "create"]


def create(name: str, num_classes: int, **options: Any) -> Network[Any]:
    """Build a network by its name: `create("deeplabv3", num_classes=11, backbone="resnet50")`.

    Options are the keyword arguments of the network's `build`; every network takes `in_channels` and `criterion`.
    Nothing is fetched unless `pretrained=True`. Raises ValueError for an unknown name or option, with the nearest one.
    """
    if name not in MODELS:
        raise ValueError(unknown("network", name, MODELS))
    if num_classes < 2:
        raise ValueError(f"num_classes = {num_classes}: at least 2 (binary is background and foreground)")
    known = [key for key in inspect.signature(MODELS[name].build).parameters if key != "num_classes"]
    for key in options:
        if key not in known:
            raise ValueError(unknown(f"option of {name}", key, known))
    return MODELS[name].build(num_classes, **options)


def unknown(what: str, name: str, known: Any) -> str:
    """One line for a name that is not known: the nearest known one, or all of them."""
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return f"there is no {what} {name!r}; {hint}"
