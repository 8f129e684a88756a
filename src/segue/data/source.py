"""What a data set is to the rest of the toolkit: pictures and masks by number, with names and labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segue.data.places import Place, ZipPlace
from segue.errors import DataError
from segue.labels import LabelError, Labels
from segue.reading import decoding, orientation, read_image, refuse_stack, upright

MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif", ".pgm", ".ppm", ".webp", ".jpg", ".jpeg")
"""JPEG among them, so that one is told what is wrong with it."""


@dataclass(frozen=True)
class FileStamp:
    """A file's path, and what changes when the file does: its size and its time of change."""

    path: str
    version: str


@dataclass(frozen=True)
class PairStamp:
    """The stamps of a picture's file and of its mask's."""

    image: FileStamp
    mask: FileStamp


def file_stamp(path: Place) -> FileStamp:
    """The stamp of a file, or of a member of an archive, which changes with its archive."""
    status = (path.archive if isinstance(path, ZipPlace) else path).stat()
    whole = str(path.absolute()) if isinstance(path, Path) else str(path)
    return FileStamp(whole, f"{status.st_size}:{status.st_mtime_ns}")


class DataSet(ABC):
    """One split of a data set: pictures and masks by number.

    labels: classes, colours and the label map.
    anomalies: where the masks mark what is out of distribution, the same pictures with another target: 0 in
    distribution, 1 anomaly, `IGNORE` not counted. None where nothing is marked. An anomaly has no class: in this data
    set's own target it is `IGNORE`, unless its classes are those two themselves (Fishyscapes, RoadAnomaly21).
    """

    labels: Labels
    anomalies: DataSet | None = None

    @abstractmethod
    def __len__(self) -> int:
        """How many pictures there are."""

    @abstractmethod
    def name(self, index: int) -> str:
        """A picture's name, unique in its split, without a suffix."""

    @abstractmethod
    def image(self, index: int) -> np.ndarray:
        """A picture (H, W, C) as `read_image` gives it: RGB uint8, or what else the files hold."""

    @abstractmethod
    def target(self, index: int) -> np.ndarray:
        """A picture's classes (H, W) uint8, `IGNORE` where nothing is counted."""

    def stamp(self, index: int) -> PairStamp | None:
        """What tells whether a picture's files are still what they were; None where there are no files to tell it."""
        return None

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """The numbers of all pictures in the order in which an epoch of training shows them."""
        return np.random.Generator(np.random.PCG64([seed, 0, epoch])).permutation(len(self))


@dataclass(frozen=True)
class Pair:
    """An image file and its mask file."""

    name: str
    image: Place
    mask: Place


MaskReader = Callable[[Place], np.ndarray]
"""A mask file -> its raw values (H, W), or colours (H, W, 3)."""


class FileDataSet(DataSet):
    """Pictures and masks in files.

    read: how a mask file becomes raw values, where it is not a picture of them.
    draw: how a pair's raw values are come by, where its mask's file is of annotations, instead of `read`.
    anomalies: raw value -> 0 in distribution, 1 anomaly, as labels, where the masks mark anomalies.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        labels: Labels,
        *,
        read: MaskReader | None = None,
        draw: Callable[[Pair], np.ndarray] | None = None,
        anomalies: Labels | None = None,
    ) -> None:
        self.pairs = tuple(pairs)
        self.labels = labels
        self.read = read or read_raw_mask
        self.draw = draw
        self.anomalies = FileDataSet(pairs, anomalies, read=read) if anomalies else None

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, index: int) -> str:
        return self.pairs[index].name

    def image(self, index: int) -> np.ndarray:
        pixels = read_image(self.pairs[index].image)
        channels, kind = self._kind
        if pixels.shape[2] != channels or pixels.dtype != kind:
            raise DataError(
                f"{self.pairs[index].image}: {pixels.shape[2]} channels of {pixels.dtype}, where "
                f"{self.pairs[0].image.name} has {channels} of {kind}; make all pictures alike"
            )
        return pixels

    @cached_property
    def _kind(self) -> tuple[int, np.dtype[Any]]:
        """Channels and type of the first picture, which all the others must have."""
        first = read_image(self.pairs[0].image)
        return first.shape[2], first.dtype

    def target(self, index: int) -> np.ndarray:
        pair = self.pairs[index]
        if self.draw is not None:
            return classes_of(self.draw(pair), self.labels, pair.mask)
        return read_target(pair.mask, self.labels, self.read)

    def stamp(self, index: int) -> PairStamp | None:
        pair = self.pairs[index]
        return PairStamp(file_stamp(pair.image), file_stamp(pair.mask))


def read_pair(data: DataSet, index: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture (H, W, C) and its classes (H, W) uint8. Raises DataError when they are not of one size."""
    image, target = data.image(index), data.target(index)
    if target.shape != image.shape[:2]:
        stamp = data.stamp(index)
        file = stamp.image.path if stamp is not None else data.name(index)
        turned = target.shape == image.shape[1::-1]
        mend = "turn the mask as the picture's EXIF tag turns the picture" if turned else "make them the same size"
        raise DataError(
            f"{file}: the picture is {image.shape[1]}x{image.shape[0]}, its mask {target.shape[1]}x{target.shape[0]} "
            f"(width x height); {mend}"
        )
    return image, target


def read_raw_mask(path: Place) -> np.ndarray:
    """A mask's own values (H, W), uint8 or uint16: a palette's indices, never its colours; or colours (H, W, 3) uint8,
    where the file holds nothing else. Turned only if the mask itself has an EXIF orientation.

    Raises DataError for a file that cannot be decoded.
    """
    with decoding(path, "mask"), path.open("rb") as stream, Image.open(stream) as file:
        return raw_mask(file, path)


def raw_mask(file: Image.Image, path: Place) -> np.ndarray:
    """What `read_raw_mask` gives of an opened file."""
    refuse_stack(file, path)
    raw: np.ndarray
    if file.mode == "1":
        raw = np.asarray(file, dtype=np.uint8) * 255
    elif file.mode in ("L", "P"):
        raw = np.asarray(file)
    elif file.mode == "LA":
        raw = np.asarray(file)[..., 0]
    elif file.mode.startswith("I"):
        raw = np.asarray(file)
        if raw.min() < 0 or raw.max() > 65535:
            raise DataError(f"{path}: holds values from {raw.min()} to {raw.max()}; a mask has 0 to 65535")
        raw = raw.astype(np.uint16)
    elif file.mode == "F":
        raise DataError(f"{path}: holds fractions (32-bit floats); save the mask with whole numbers")
    else:
        raw = np.asarray(file.convert("RGB"))
    return upright(raw, orientation(file))


def read_target(path: Place, labels: Labels, read: MaskReader = read_raw_mask) -> np.ndarray:
    """A mask's classes (H, W) uint8. Raises DataError for a value that the label map does not hold."""
    return classes_of(read(path), labels, path)


def classes_of(raw: np.ndarray, labels: Labels, path: Place) -> np.ndarray:
    """A file's raw values as classes (H, W) uint8. Raises DataError for one that the label map does not hold."""
    if raw.ndim == 3 and not labels.colour_key:
        raise DataError(
            f"{path}: a mask of colours, where one value per pixel is needed; save it as an 8-bit grey or palette PNG "
            "whose values are the labels, or give every class its colour in classes.txt (128 64 128 road)"
        )
    if raw.dtype == np.uint16 and max(labels.values) < 256 <= raw.max():
        raise DataError(
            f"{path}: a 16-bit mask (values {raw.min()} to {raw.max()}), but the label map knows 8-bit values only; "
            "map its values in [data.map], or save it with 8 bits"
        )
    try:
        return labels.read(raw)
    except LabelError as error:
        kind = "label" if isinstance(error.value, int) else "colour"
        raise DataError(
            f"{path}: pixel ({error.row}, {error.column}) has {kind} {error.value}, which none of the "
            f"{labels.num_classes} classes has. In a folder of your own, map it in [data.map] (to 255 to leave such "
            "pixels out); in a data set by name, fetch the file again."
        ) from error
