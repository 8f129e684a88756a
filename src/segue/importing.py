"""Other codebases' checkpoints, made into a model's folder that `segue.load` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segue.backbones import read_state
from segue.convert import ConversionError, find_source
from segue.labels import Labels
from segue.model import Card, Model
from segue.prediction import Preprocessing

CAFFE = Preprocessing((104.00699, 116.66877, 122.67892), (1.0, 1.0, 1.0), bgr=True)
UNIT = Preprocessing((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))

INPUTS: Mapping[str, Preprocessing] = {
    "wkentaro/pytorch-fcn": CAFFE,
    "shelhamer/fcn.berkeleyvision.org": CAFFE,
    "corenel/deeplab-public": CAFFE,
    "talent518/deeplab-public-ver2": CAFFE,
    "kazuto1011/deeplab-pytorch": CAFFE,
    "alexgkendall/SegNet-Tutorial": Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), bgr=True),
    "milesial/Pytorch-UNet": UNIT,
}
"""What each codebase does to a picture, where it is not the mean and deviation of ImageNet."""


def convert_file(
    file: str | Path,
    *,
    source: str = "",
    args: str = "{}",
    out: str = "",
    classes: str = "",
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    bgr: bool | None = None,
    partly: bool = False,
) -> str:
    """Convert a checkpoint and write the model's folder; returns what was done, for people.

    Raises ValueError for a file that cannot be read without running code, ConversionError for tensors that find no
    place or places that find no tensor, unless `partly`.
    """
    path = Path(file)
    state = read_state(path)
    arguments = _arguments(args)
    try:
        found = find_source(state, source or None)
        network = found.load(state, arguments, strict=not partly)
    except ConversionError as error:
        raise ConversionError(f"{path}: {error}") from error
    folder = Path(out) if out else path.with_suffix("")
    if folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder]):
        raise ConversionError(f"{folder}: is there already; say another --out")
    names = _names(classes, network.num_classes)
    known = INPUTS.get(found.names[0], Preprocessing())
    preprocessing = Preprocessing(
        tuple(mean) or known.mean[: network.in_channels],
        tuple(std) or known.std[: network.in_channels],
        bgr=known.bgr if bgr is None else bgr,
    )
    if len(preprocessing.mean) != network.in_channels:
        raise ConversionError(f"{path}: takes {network.in_channels} channels: say --mean and --std for each of them")
    card = Card(
        network=found.network,
        options={},
        labels=Labels(classes=names),
        preprocessing=preprocessing,
        reference={"source": found.names[0], "args": arguments, "strict": not partly},
    )
    Model(network, card, state).save(folder)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    lines = [
        f"{path}: {found.network} of {found.names[0]}, {parameters / 1e6:.1f} M parameters, "
        f"{network.num_classes} classes -> {folder}"
    ]
    if network.unused_tensors:
        shown = ", ".join(network.unused_tensors[:8])
        lines.append(f"never used by its own codebase: {shown}{', ...' if len(network.unused_tensors) > 8 else ''}")
    return "\n".join(lines)


def _arguments(text: str) -> dict[str, Any]:
    try:
        arguments = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConversionError(f"--args {text!r}: is not JSON ({error})") from error
    if not isinstance(arguments, dict):
        raise ConversionError(f'--args {text!r}: a JSON object is needed, like {{"os": 8}}')
    return arguments


def _names(file: str, count: int) -> tuple[str, ...]:
    if not file:
        return tuple(f"class {index}" for index in range(count))
    names = tuple(line.strip() for line in Path(file).read_text(encoding="utf-8").splitlines() if line.strip())
    if len(names) != count:
        raise ConversionError(f"{file}: names {len(names)} classes, the checkpoint has {count}")
    return names
