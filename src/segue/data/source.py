"""What a data set is to the rest of the toolkit: pictures and masks by number, with names and labels."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from segue.data.places import Place, ZipPlace
from segue.errors import DataError
from segue.labels import LabelError, Labels
from segue.reading import read_image

MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".pgm")


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
    image: Path
    mask: Path


MaskReader = Callable[[Path], np.ndarray]
"""A mask file -> its raw values (H, W)."""


class FileDataSet(DataSet):
    """Pictures and masks in files.

    read: how a mask file becomes raw values, where it is not a picture of them.
    anomalies: raw value -> 0 in distribution, 1 anomaly, as labels, where the masks mark anomalies.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        labels: Labels,
        *,
        read: MaskReader | None = None,
        anomalies: Labels | None = None,
    ) -> None:
        self.pairs = tuple(pairs)
        self.labels = labels
        self.read = read or read_raw_mask
        self.anomalies = FileDataSet(pairs, anomalies, read=read) if anomalies else None

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, index: int) -> str:
        return self.pairs[index].name

    def image(self, index: int) -> np.ndarray:
        return read_image(self.pairs[index].image)

    def target(self, index: int) -> np.ndarray:
        return read_target(self.pairs[index].mask, self.labels, self.read)

    def stamp(self, index: int) -> PairStamp | None:
        pair = self.pairs[index]
        return PairStamp(file_stamp(pair.image), file_stamp(pair.mask))


def read_pair(data: DataSet, index: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture (H, W, C) and its classes (H, W) uint8. Raises DataError when they are not of one size."""
    image, target = data.image(index), data.target(index)
    if target.shape != image.shape[:2]:
        raise DataError(
            f"{data.name(index)}: the picture is {image.shape[1]}x{image.shape[0]}, "
            f"its mask {target.shape[1]}x{target.shape[0]} (width x height); make them the same size"
        )
    return image, target


def read_raw_mask(path: Path) -> np.ndarray:
    """A mask's own values (H, W), uint8 or uint16: a palette's indices, never its colours.

    Raises DataError for a file that cannot be decoded or that holds colours.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of palettes with transparency, which indices do not have
            with Image.open(path) as file:
                if file.mode == "1":
                    return np.asarray(file, dtype=np.uint8) * 255
                if file.mode in ("L", "P"):
                    return np.asarray(file)
                if file.mode in ("I;16", "I;16B", "I"):
                    raw = np.asarray(file)
                    return raw.astype(np.uint16) if raw.dtype != np.uint16 else raw
                mode = file.mode
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such mask") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: cannot be decoded ({error}); replace the file, or take it out of the data") from error
    raise DataError(
        f"{path}: a mask with colours (mode {mode}), where one value per pixel is needed; "
        "save it as an 8-bit grey or palette PNG whose values are the labels"
    )


def read_target(path: Path, labels: Labels, read: MaskReader = read_raw_mask) -> np.ndarray:
    """A mask's classes (H, W) uint8. Raises DataError for a value that the label map does not hold."""
    return classes_of(read(path), labels, path)


def classes_of(raw: np.ndarray, labels: Labels, path: Place) -> np.ndarray:
    """A file's raw values as classes (H, W) uint8. Raises DataError for one that the label map does not hold."""
    if raw.dtype == np.uint16 and max(labels.values) < 256:
        raise DataError(
            f"{path}: a 16-bit mask (values {raw.min()} to {raw.max()}), but the label map knows 8-bit values only; "
            "map its values in [data.map], or save it with 8 bits"
        )
    try:
        return labels.read(raw)
    except LabelError as error:
        raise DataError(
            f"{path}: pixel ({error.row}, {error.column}) has label {error.value}, which none of the "
            f"{labels.num_classes} classes has. In a folder of your own, map it in [data.map] (to 255 to leave such "
            "pixels out); in a data set by name, fetch the file again."
        ) from error
