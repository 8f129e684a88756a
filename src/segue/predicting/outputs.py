"""What is written for a picture, and where."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from segue.files import write_atomically
from segue.labels import Labels
from segue.model import mask_image
from segue.options import ProbabilityType
from segue.pictures import overlay, viewable
from segue.rasters import Georeference, array_rows, tiff_rows

MASK, OVERLAY, CONFIDENCE, PROBABILITIES = "mask", "overlay", "confidence", "probabilities"


@dataclass(frozen=True)
class Wanted:
    """Which files are written.

    out: the folder: OUT/NAME.png is the mask, in the data's own label values.
    overlays: OUT/overlays/NAME.jpg, the picture with the classes' colours.
    confidence: OUT/confidence/NAME.png, the highest probability of each pixel, 255 for 1.
    probabilities: OUT/probabilities/NAME.npy, (K, H, W) as uint8 (255 for 1) or float16; none for no such file.
    """

    out: Path
    overlays: bool = True
    confidence: bool = False
    probabilities: ProbabilityType = "none"

    def __post_init__(self) -> None:
        if self.probabilities not in get_args(ProbabilityType):
            raise ValueError(f"--probabilities {self.probabilities}: it must be none, uint8 or float16")

    @property
    def soft(self) -> bool:
        """Whether anything but the most probable class is wanted."""
        return self.confidence or self.probabilities != "none"

    def paths(self, place: str, suffix: str = ".png") -> dict[str, Path]:
        """The files of one picture; `suffix` is that of its masks: .tif for maps and large pictures."""
        found = {MASK: self.out / f"{place}{suffix}"}
        if self.overlays:
            found[OVERLAY] = self.out / "overlays" / f"{place}.jpg"
        if self.confidence:
            found[CONFIDENCE] = self.out / "confidence" / f"{place}{suffix}"
        if self.probabilities != "none":
            found[PROBABILITIES] = self.out / "probabilities" / f"{place}.npy"
        return found

    def are_written(self, place: str) -> bool:
        """Whether all files of a picture are there; files that are there are whole."""
        return any(all(path.is_file() for path in self.paths(place, suffix).values()) for suffix in (".png", ".tif"))


@dataclass(frozen=True)
class Found:
    """What a predictor says of rows of a picture, as it is written.

    labels: (H, W) uint8. confidence: (H, W) uint8. probabilities: (K, H, W) uint8 or float16.
    """

    labels: np.ndarray
    confidence: np.ndarray | None = None
    probabilities: np.ndarray | None = None


def found_in(probabilities: Tensor, wanted: Wanted) -> Found:
    """(K, H, W) float32 -> what is wanted of it, rounded where it was computed."""
    highest, labels = probabilities.max(dim=0)
    soft = None
    if wanted.probabilities == "uint8":
        soft = _in_bytes(probabilities)
    elif wanted.probabilities == "float16":
        soft = probabilities.half()
    return Found(
        _array(labels.to(torch.uint8)),
        _array(_in_bytes(highest)) if wanted.confidence else None,
        None if soft is None else _array(soft),
    )


def _in_bytes(probabilities: Tensor) -> Tensor:
    return (probabilities * 255).round_().to(torch.uint8)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().numpy()


def write_picture(
    wanted: Wanted, place: str, pixels: np.ndarray, found: Found, labels: Labels, georeference: Georeference | None
) -> list[Path]:
    """Write all that is wanted of one picture (H, W, C); the mask comes last. Returns the files."""
    paths = wanted.paths(place, ".png" if georeference is None else ".tif")
    if wanted.overlays:
        painted = Image.fromarray(overlay(viewable(pixels), found.labels, labels))
        write_atomically(paths[OVERLAY], _saver(painted, "JPEG"))
    if georeference is not None:
        with MapFiles(wanted, place, found.labels.shape, labels, georeference) as files:
            files.write(found)
        return list(paths.values())
    if found.probabilities is not None:
        soft = found.probabilities
        write_atomically(paths[PROBABILITIES], lambda temporary: _save_array(temporary, soft))
    if found.confidence is not None:
        write_atomically(paths[CONFIDENCE], _saver(Image.fromarray(found.confidence), "PNG"))
    write_atomically(paths[MASK], _saver(mask_image(found.labels, labels), "PNG"))
    return list(paths.values())


class MapFiles(ExitStack):
    """A picture's mask and confidence as TIFFs, and its probabilities, written by rows.

    All of them are whole when the block ends well, the mask last; none is there otherwise.
    """

    def __init__(
        self, wanted: Wanted, place: str, size: tuple[int, ...], labels: Labels, georeference: Georeference | None
    ) -> None:
        super().__init__()
        self.wanted, self.place, self.size, self.labels, self.georeference = wanted, place, size, labels, georeference

    def __enter__(self) -> MapFiles:
        paths, labels = self.wanted.paths(self.place, ".tif"), self.labels
        deep, coloured = max(labels.written.values()) > 255, bool(labels.colour_key)
        self.mask = self.enter_context(
            tiff_rows(
                paths[MASK],
                (*self.size, 3) if coloured else self.size,
                np.uint16 if deep and not coloured else np.uint8,
                palette=None if deep or coloured else {raw: labels.palette[k] for k, raw in labels.written.items()},
                georeference=self.georeference,
            )
        )
        if self.wanted.confidence:
            self.confidence = self.enter_context(
                tiff_rows(paths[CONFIDENCE], self.size, np.uint8, georeference=self.georeference)
            )
        if self.wanted.probabilities != "none":
            shape = (labels.num_classes, *self.size)
            self.probabilities = self.enter_context(
                array_rows(paths[PROBABILITIES], shape, np.dtype(self.wanted.probabilities).type)
            )
        return self

    def write(self, found: Found) -> None:
        """The next rows."""
        self.mask(self.labels.write(found.labels))
        if found.confidence is not None:
            self.confidence(found.confidence)
        if found.probabilities is not None:
            self.probabilities(found.probabilities)


def _saver(image: Image.Image, kind: str) -> Callable[[Path], None]:
    return lambda temporary: image.save(temporary, kind)


def _save_array(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:  # given a name, numpy would add a suffix
        np.save(file, array)
