"""What every kind of raster is: a file whose rows are read, with what its readings share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from segue.prediction import as_batch


@dataclass(frozen=True)
class Georeference:
    """Where a raster lies on the earth: what a raster of the same size is written with.

    tags: the TIFF tags that say so, verbatim, as (code, type, count, value).
    profile: what rasterio calls it: crs and transform, or ground control points. Either one is empty.
    """

    tags: tuple[tuple[int, int, int, Any], ...] = ()
    profile: Mapping[str, Any] = field(default_factory=dict)


class Raster(ABC):
    """A file with a picture of which any rows can be read; a `Rows` of one picture.

    georeference: None for a picture that lies nowhere.
    """

    count = 1

    def __init__(self, path: Path, height: int, width: int, georeference: Georeference | None = None) -> None:
        self.path, self.height, self.width, self.georeference = path, height, width, georeference

    @abstractmethod
    def pixels(self, top: int, bottom: int) -> np.ndarray:
        """Rows top..bottom-1 as (bottom - top, W, C), as `read_image` gives them. Raises DataError for damaged ones."""

    @abstractmethod
    def close(self) -> None:
        """Give the file back."""

    def read(self, top: int, bottom: int) -> Tensor:
        """Rows top..bottom-1 as (1, C, bottom - top, W), uint8 or float32."""
        return as_batch([self.pixels(top, bottom)])

    def __enter__(self) -> Raster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class HeldRaster(Raster):
    """A picture that has to be decoded whole, PNG, JPEG and the like: when the first rows are asked for."""

    decoded: np.ndarray | None = None

    def __init__(self, path: Path, height: int, width: int, decode: Callable[[], np.ndarray]) -> None:
        super().__init__(path, height, width)
        self.decode = decode

    def pixels(self, top: int, bottom: int) -> np.ndarray:
        if self.decoded is None:
            self.decoded = self.decode()
        return self.decoded[top:bottom]

    def close(self) -> None:
        self.decoded = None


def usual(pixels: np.ndarray) -> np.ndarray:
    """(H, W, C) as a file holds it -> as networks take it: 8-bit grey repeated to RGB, odd types as float32."""
    if pixels.dtype == np.uint8:
        return pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels
    return pixels if pixels.dtype == np.uint16 else pixels.astype(np.float32)
