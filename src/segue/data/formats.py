"""Masks that are not pictures: fields of MATLAB files, and pages of TIFF stacks; and tables of labels as text."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from segue.data.places import Place
from segue.data.source import read_raw_mask
from segue.errors import DataError
from segue.reading import decoding


@dataclass(frozen=True)
class MatMask:
    """Masks that are a field of a MATLAB file, such as `GTcls.Segmentation`; pictures of values are read as ever.

    table: the file's value -> raw value; () where they are the same.
    """

    way: str
    table: tuple[int, ...] = ()

    def __call__(self, path: Place) -> np.ndarray:
        if path.suffix != ".mat":
            return read_raw_mask(path)
        first, *rest = self.way.split(".")
        loadmat = scipy_io(path).loadmat
        with decoding(path, "mask"), path.open("rb") as stream:
            value = loadmat(stream, variable_names=[first]).get(first)
            for key in rest:
                value = value[key][0, 0] if value is not None and key in (value.dtype.names or ()) else None
        if value is None:
            raise DataError(f"{path}: holds no {self.way}, as a mask of this data set does")
        return recoded(value, self.table, path)


def recoded(values: np.ndarray, table: tuple[int, ...], path: Place) -> np.ndarray:
    """A file's values (H, W) -> raw values, uint8 where they fit. Raises DataError for one that the table lacks."""
    if table and values.max(initial=0) >= len(table):
        row, column = np.argwhere(values >= len(table))[0]
        raise DataError(
            f"{path}: pixel ({row}, {column}) has the value {values[row, column]}; the highest is {len(table) - 1}"
        )
    raw = np.asarray(table, dtype=np.uint16)[values] if table else values
    return raw.astype(np.uint8 if raw.max(initial=0) < 256 else np.uint16)


def read_page(path: Place, page: int) -> np.ndarray:
    """One page (H, W) of a TIFF stack, counted from 0."""
    with decoding(path, "stack"), path.open("rb") as stream, Image.open(stream) as file:
        try:
            file.seek(page)
        except EOFError as error:
            raise DataError(f"{path}: has no page {page + 1}; fetch it again") from error
        return np.asarray(file)


def scipy_io(path: Place) -> ModuleType:
    """scipy.io. Raises DataError that says how to install it."""
    try:
        import scipy.io
    except ImportError as error:
        raise DataError(f"{path}: a MATLAB file, which needs scipy: pip install 'segue[mat]'") from error
    return scipy.io


def open_hdf5(path: Place) -> Any:
    """A MATLAB 7.3 file, which is HDF5, as h5py.File. Raises DataError that says how to install h5py."""
    return _opened_hdf5(path, os.getpid())


@lru_cache(maxsize=4)
def _opened_hdf5(path: Place, process: int) -> Any:
    """The file, opened once in each process: a forked one must not share its parent's position in it."""
    try:
        import h5py
    except ImportError as error:
        raise DataError(f"{path}: a MATLAB 7.3 file, which needs h5py: pip install 'segue[mat]'") from error
    with decoding(path, "file"):
        return h5py.File(path if isinstance(path, Path) else path.open("rb"), "r")


def numbers(text: str) -> tuple[int, ...]:
    """Numbers, and ranges such as 14-18."""
    ends = (part.split("-") for part in text.split())
    return tuple(number for end in ends for number in range(int(end[0]), int(end[-1]) + 1))
